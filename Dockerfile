# Build: docker build -t fairlane .
# Run:   docker run --stop-timeout 40 -v ./fairlane.toml:/etc/fairlane/fairlane.toml -p 3306:3306 -p 9306:9306 fairlane
# In that file: listen = "0.0.0.0:3306", and admin.listen = "0.0.0.0:9306" where only operators reach
# the port: by default both listen on the container's own loopback address. With another admin.listen
# give `fairlane health --live --admin HOST:PORT` as the health check. It asks whether Fairlane runs: what is
# unhealthy may be restarted, and while the primary is down sessions still read from replicas. Whether it should get
# new clients says `fairlane health`, or /readyz. Sessions have 30 s to end.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release --bin fairlane && strip target/release/fairlane

FROM debian:bookworm-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin fairlane
COPY --from=build /src/target/release/fairlane /usr/local/bin/fairlane
COPY --from=build /src/config/fairlane.toml /usr/share/doc/fairlane/fairlane.toml
USER fairlane
EXPOSE 3306 9306
HEALTHCHECK --interval=5s --timeout=4s --start-period=5s CMD ["fairlane", "health", "--live"]
ENTRYPOINT ["fairlane"]
CMD ["serve", "--config", "/etc/fairlane/fairlane.toml"]
