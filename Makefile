# hermes. `make up` to try it, `make test` to prove it.
.DEFAULT_GOAL := build
.PHONY: build up test mutate-gates check lint generate soak fuzz bench bench-page pictures image image-s6 base-s6 rootfs clean

IMAGE ?= hermes
# What the image with s6 is made on. Where no registry can be asked:
# make base-s6 image-s6 S6_BASE=hermes-debian
S6_BASE ?= debian:bookworm-slim
ARCH  ?= $(shell go env GOARCH)
GO_BUILD = CGO_ENABLED=0 go build -trimpath -ldflags="-s -w"
# The linters' versions are pinned in a module of their own.
TOOL = go tool -modfile=tools/go.mod
# More flags for go test, such as -v or -run=TestName.
TESTFLAGS ?=
# How long `make fuzz` runs each target.
FUZZTIME ?= 10s

build:
	$(GO_BUILD) -o build/hermes ./cmd/hermes

# up: two gateways that answer with an echo, in the foreground, in ./home.
up: build
	@dev/up.sh ./home

# test: all that this machine can run; names what it left out. With CI=true
# leaving anything out is a failure.
test:
	@dev/test.sh $(TESTFLAGS)

# mutate-gates: removes each gate of `gateway run` and each guard of the boot in
# turn: its own test has to go red. MUTATEFLAGS='-only ^gate' is less of it.
mutate-gates:
	go run ./test/mutate $(MUTATEFLAGS)

# check: what a change has to pass.
check: lint generate test mutate-gates
	git diff --exit-code -- docs

# lint: what .golangci.yml asks for, gofumpt included.
lint:
	$(TOOL) golangci-lint run --allow-serial-runners

# generate: the reference pages that come from the code.
generate:
	go test . -run='TestDependencies|TestSeeds' -update
	go test ./internal/capability -run=TestReferenceIsFresh -update
	go test ./internal/cli -run=TestReferenceIsFresh -update
	go test ./internal/condition -run=TestReferenceIsFresh -update
	go test ./internal/server -run=TestDocs -update
	go test ./internal/vitals -run='TestDocs|TestRender$$' -update
	go test ./test/e2e -run=TestSettingsPage -update

# soak: the same tests with ten times the counts, and long fuzzing.
soak:
	HERMES_SOAK=1 dev/test.sh -timeout=4h $(TESTFLAGS)
	dev/fuzz.sh 5m

# fuzz: every fuzz target for FUZZTIME.
fuzz:
	dev/fuzz.sh $(FUZZTIME)

# bench: the promised figures, ours and the peers' in one run, under ten minutes:
# 7 samples of each (boots 3), fleets of one size settle and idle together; see
# docs/bench.md. BENCHFLAGS='-n 10,100 -ours=' is a short one.
bench: build
	go build -trimpath -o build/bench ./bench
	build/bench -hermes build/hermes $(BENCHFLAGS)

# bench-page: how the dashboard of a thousand gateways feels in a browser; see
# docs/bench.md.
bench-page:
	cd test/browser && go test -run='^$$' -bench=BenchmarkPage -benchtime=1x -timeout=30m .

# pictures: takes the pictures of the documentation anew.
pictures:
	cd test/browser && go test -count=1 -run=TestPictures . -pictures=../../docs/images

# image: the container image, from nothing but the static binary.
image: rootfs
	docker build --quiet --platform linux/$(ARCH) --tag $(IMAGE) .

# image-s6: the same binary on Debian, with skarnet's s6 as PID 1.
image-s6: rootfs
	docker build --quiet --platform linux/$(ARCH) --build-arg BASE=$(S6_BASE) --file Dockerfile.s6 --tag $(IMAGE)-s6 .

# base-s6: a base for it out of Debian's packages, kept in the user's cache.
base-s6:
	dev/debian.sh $(S6_BASE)

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
