//! An executable for tests to start a holder from: the test harness's own `main` can't become one.

fn main() {
    windlass_network::holder::run_if_internal();
}
