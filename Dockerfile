# Both services from one build: `docker build --target auth-service .`, or resource-service.
#
# The tags follow security updates. docs/deploy.md says how to pin an image by its digest, and how to update.
ARG RUST_IMAGE=rust:1-slim-trixie
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# The cache mounts are gone after the step: what is shipped is moved out of them within it.
# Cargo tells by the times of files what must be compiled, and COPY keeps the times of the checkout. A source that
# changed, with a time before the last build (an older commit, an unpacked archive), would not be compiled, without
# an error. So every source is as new as this build. What comes from the registry stays built.
RUN --mount=type=cache,sharing=locked,target=/usr/local/cargo/registry \
    --mount=type=cache,sharing=locked,target=/src/target \
    find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --locked --profile dist --package auth-service --package resource-service --bins \
    && install -D --target-directory=/out \
        target/dist/auth-service target/dist/resource-service \
    && install -D --mode=0644 --target-directory=/out/licenses LICENSE-APACHE LICENSE-MIT \
    && install -d /out/secrets/auth /out/secrets/feed /out/secrets/postgres /out/secrets/redis

# libc, libm and libgcc_s, a user 65532, no shell.
FROM ${RUNTIME_IMAGE} AS auth-service
# The list of common passwords is compiled in, and its licence asks for its notice beside the binary.
LABEL org.opencontainers.image.licenses="(Apache-2.0 OR MIT) AND BSD-3-Clause"
COPY --from=build /out/licenses /usr/local/share/licenses/latchkey
COPY crates/auth-service/src/passwords/common_passwords.LICENSE /usr/local/share/licenses/latchkey/
COPY --from=build /out/auth-service /usr/local/bin/auth-service
# A new volume takes over the owner of the directory that it is mounted on: so the `init` of
# docker-compose.yml can write without being root.
COPY --from=build --chown=65532:65532 /out/secrets /secrets
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/auth-service"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s CMD ["/usr/local/bin/auth-service", "healthcheck"]

FROM ${RUNTIME_IMAGE} AS resource-service
LABEL org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /out/licenses /usr/local/share/licenses/latchkey
COPY --from=build /out/resource-service /usr/local/bin/resource-service
USER 65532:65532
EXPOSE 8081
ENTRYPOINT ["/usr/local/bin/resource-service"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s CMD ["/usr/local/bin/resource-service", "healthcheck"]
