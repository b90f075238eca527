# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
# The allocator, zstd and the cryptography of TLS are compiled from C.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package synap-server --bin synap-server

FROM debian:bookworm-slim
RUN groupadd --system --gid 999 synap \
    && useradd --system --uid 999 --gid synap --home-dir /var/lib/synap --no-create-home synap \
    && install --directory --owner=synap --group=synap --mode=0700 /var/lib/synap
COPY --from=build /source/target/release/synap-server /usr/local/bin/synap-server
COPY config/production.toml /etc/synap/synap.toml
# Whoever comes to a container comes from outside: protected-mode lets nobody in before SYNAP_REQUIREPASS is set.
ENV SYNAP_HTTP_BIND="* -::*"
USER synap
WORKDIR /var/lib/synap
VOLUME /var/lib/synap
EXPOSE 6379 15500
STOPSIGNAL SIGTERM
# The image has no curl: the shell asks by itself. /health needs no password.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/15500 && printf 'GET /health HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["synap-server"]
CMD ["/etc/synap/synap.toml"]
