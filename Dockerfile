# The image of renderhook: the binary, a C library, the root certificates and nothing else.
#
#   docker build -t renderhook .
#
# The stand-in for Magic Hour is a target of its own, of which that image has nothing:
#
#   docker build -t renderhook-standin --target standin .

# The Rust that Cargo.toml declares (rust-version), so that the image is built by what the promise is made for.
ARG RUST_VERSION=1.95.0

# The slim image is enough: it has gcc and the C library's headers, and aws-lc-sys (the cryptography under rustls) asks
# for a C compiler alone on x86-64 and ARM64: its assembly and its bindings come ready made, so neither cmake nor clang.
# Its Debian release is that of the image below: a binary must not ask for a newer C library than it will find.
FROM rust:${RUST_VERSION}-slim-trixie AS sources
WORKDIR /src

# The queries are checked against .sqlx/, so that no database is needed.
ENV SQLX_OFFLINE=true

COPY Cargo.toml Cargo.lock build.rs ./
COPY .sqlx .sqlx
COPY migrations migrations
COPY crates crates
COPY src src

FROM sources AS build
ARG TARGETPLATFORM

# Dependencies are kept in cache mounts: unlike a layer of their own they outlive a change of Cargo.lock, and no made-up
# main.rs has to stand in for the sources. One target cache a platform, since an emulated build must not take over the
# native one's; locked, since two builds in one target folder would wait for each other anyhow. The sources are touched
# because cargo judges by time, and a checkout of an older version may be older than what the cache holds.
RUN --mount=type=cache,id=renderhook-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=renderhook-target-${TARGETPLATFORM},target=/src/target,sharing=locked \
    find build.rs src migrations .sqlx -exec touch {} + \
    && cargo build --release --locked --bin renderhook \
    && cp target/release/renderhook /usr/local/bin/renderhook

# Without optimization: it takes a fraction of the time, and nobody waits for a stand-in.
FROM sources AS build-standin
ARG TARGETPLATFORM
RUN --mount=type=cache,id=renderhook-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=renderhook-target-${TARGETPLATFORM},target=/src/target,sharing=locked \
    find build.rs crates src migrations .sqlx -exec touch {} + \
    && cargo build --locked --package renderhook-dev \
    && cp target/debug/renderhook-dev /usr/local/bin/renderhook-dev

FROM gcr.io/distroless/cc-debian13:nonroot AS standin
COPY --from=build-standin /usr/local/bin/renderhook-dev /usr/local/bin/renderhook-dev
USER 65532:65532
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/renderhook-dev", "standin", "--health"]
ENTRYPOINT ["/usr/local/bin/renderhook-dev"]
CMD ["standin", "--listen", "0.0.0.0:9000"]

# Distroless cc: the C library and libgcc that the binary is linked to, the root certificates, and no shell or package
# manager for an intruder to use. The certificates are needed: both HTTP clients (downloads, object store) take their
# roots from the system, and cannot even be made where /etc/ssl/certs/ca-certificates.crt is missing. Only the
# connection to Postgres brings its own. A private authority is mounted as a file and named in SSL_CERT_FILE.
# Distroless publishes no version tags; pin it by digest where builds have to be repeatable.
FROM gcr.io/distroless/cc-debian13:nonroot

# The version is Cargo.toml's. The rest only the caller knows: scripts/image takes it from git.
ARG VERSION=0.1.0
ARG REVISION=""
ARG CREATED=""
ARG SOURCE_URL=""
LABEL org.opencontainers.image.title="renderhook" \
      org.opencontainers.image.description="The webhook receiver for Magic Hour: verifies, records, archives and answers for every render" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE_URL}" \
      org.opencontainers.image.url="${SOURCE_URL}" \
      org.opencontainers.image.documentation="${SOURCE_URL:+${SOURCE_URL}#readme}"

COPY --from=build /usr/local/bin/renderhook /usr/local/bin/renderhook

# A number, since Kubernetes' runAsNonRoot cannot judge a name. It is distroless' own `nonroot`. Nothing is written to
# the image's file system, so that it may be mounted read-only.
USER 65532:65532

EXPOSE 8080

# What asks the process to drain; it is done within ten seconds, the time that engines give by default.
STOPSIGNAL SIGTERM

# Liveness, since some engines kill what is unhealthy, and that would not bring a database back. Route requests by /readyz.
# There is no shell and no curl: the binary asks its own /livez, and gives up after 4 seconds.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/renderhook", "health", "--live"]

ENTRYPOINT ["/usr/local/bin/renderhook"]
CMD ["serve"]
