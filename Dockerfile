# Build: docker build -t fairlane .
# Run:   docker run -v ./fairlane.toml:/etc/fairlane/fairlane.toml -p 3306:3306 -p 9306:9306 fairlane
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
HEALTHCHECK --interval=5s --timeout=4s --start-period=5s CMD ["fairlane", "health"]
ENTRYPOINT ["fairlane"]
CMD ["serve", "--config", "/etc/fairlane/fairlane.toml"]
