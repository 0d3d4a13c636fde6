.PHONY: demo test bench lanes simulation overload lint docs

# The scrape-and-click scenario with and without Fairlane, on private servers.
demo:
	scripts/install.sh demo
	cargo build --locked --release --bin fairlane --example demo
	target/release/examples/demo $(DEMO_ARGS)

# Everything that has to hold before a change lands.
test:
	scripts/test.sh

# The relay next to other proxies, extremes, and the pure core alone; writes benches/results/.
bench:
	scripts/install.sh bench
	cargo build --locked --release --bin fairlane --example relay_bench --example extremes_bench --example micro_bench
	target/release/examples/micro_bench
	target/release/examples/extremes_bench
	target/release/examples/relay_bench

# Users' clicks beside all kinds of batch work: direct, a plain pool, lanes; writes target/lanes/.
lanes:
	scripts/install.sh demo
	cargo build --locked --release --bin fairlane --example lanes_bench
	target/release/examples/lanes_bench $(LANES_ARGS)

# Goodput at one, two and five times what a real server can do.
overload:
	scripts/install.sh demo
	cargo build --locked --release --bin fairlane --example overload_bench
	target/release/examples/overload_bench $(OVERLOAD_ARGS)

# A lane under overload, event by event: Fairlane's policy and others.
simulation:
	cargo build --locked --release --example simulation
	target/release/examples/simulation

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --test tidy
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; fi

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --lib
