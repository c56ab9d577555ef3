# hermes. `make up` to try it, `make test` to prove it.
.DEFAULT_GOAL := build
.PHONY: build up test check image clean rootfs

IMAGE ?= hermes
ARCH  ?= $(shell go env GOARCH)
GO_BUILD = CGO_ENABLED=0 go build -trimpath -ldflags="-s -w"

build:
	$(GO_BUILD) -o build/hermes ./cmd/hermes

# image: the container image, from nothing but the static binary.
image: rootfs
	docker build --quiet --tag $(IMAGE) .

rootfs:
	rm -rf build/rootfs build/rootfs.tar
	mkdir -p build/rootfs/etc build/rootfs/usr/local/bin build/rootfs/opt/data build/rootfs/tmp build/rootfs/run
	CGO_ENABLED=0 GOARCH=$(ARCH) go build -trimpath -ldflags="-s -w" -o build/rootfs/init ./cmd/hermes
	ln -s /init build/rootfs/usr/local/bin/hermes
	printf 'root:x:0:0:root:/root:/bin/sh\nhermes:x:10000:10000:hermes:/opt/data:/bin/sh\n' > build/rootfs/etc/passwd
	printf 'root:x:0:\nhermes:x:10000:\n' > build/rootfs/etc/group
	chmod 755 build/rootfs build/rootfs/etc build/rootfs/usr build/rootfs/usr/local build/rootfs/usr/local/bin build/rootfs/opt build/rootfs/run
	chmod 700 build/rootfs/opt/data
	chmod 1777 build/rootfs/tmp
	tar --numeric-owner --owner=0 --group=0 -C build/rootfs -cf build/rootfs.tar init etc usr tmp run
	tar --numeric-owner --owner=0 --group=0 --no-recursion -C build/rootfs -rf build/rootfs.tar opt
	tar --numeric-owner --owner=10000 --group=10000 -C build/rootfs -rf build/rootfs.tar opt/data

clean:
	rm -rf build
