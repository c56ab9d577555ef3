# hermes from nothing: one static binary, which is the entry point and the
# command line. `make image` makes build/rootfs.tar and builds this.
# No USER: root gives gateways another uid, and any --user works.
FROM scratch
ADD build/rootfs.tar /
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    HERMES_HOME=/opt/data \
    API_SERVER_HOST=0.0.0.0
VOLUME /opt/data
EXPOSE 8642
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 CMD ["/usr/local/bin/hermes", "health", "--live"]
ENTRYPOINT ["/init"]
