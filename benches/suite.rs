//! `cargo bench --bench suite`: the list of `tachylite bench`, without its options: every shape, every
//! kernel that fits, verified and then timed. `-- --quick` measures the short list. `TACHYLITE_ADAPTER` names
//! the adapter, `gpu` by default.

use tachylite::Gpu;
use tachylite::bench::{Outcome, Selection, text};
use tachylite::gpu::BenchOptions;

fn main() -> tachylite::Result<()> {
    let name = std::env::var("TACHYLITE_ADAPTER").unwrap_or_else(|_| "gpu".into());
    let quick = std::env::args().any(|a| a == "--quick");
    let gpu = match Gpu::open_blocking(&name) {
        Ok(gpu) => gpu,
        Err(e) => {
            println!("SKIPPED the bench: {e}");
            return Ok(());
        }
    };
    println!("{} {} ({})", gpu.profile().backend, gpu.profile().name, gpu.profile().driver);
    let options = if quick { BenchOptions::quick() } else { BenchOptions::default() };
    let entries = Selection { quick, ..Selection::default() }.entries(gpu.profile())?;
    let mut bench = gpu.bench(options, &mut |_| ())?;
    println!("{}", text::COLUMNS);
    let (mut shape, mut wrong) = (String::new(), 0);
    bench.rows_in_turn(&entries, &mut |_, rows| {
        for row in rows.unwrap_or_default() {
            if shape != row.shape {
                println!("{}: {}", row.group, row.shape);
                shape.clone_from(&row.shape);
            }
            println!("{}", text::line(&row));
            wrong += usize::from(matches!(row.outcome, Outcome::Wrong(_)));
        }
    })?;
    assert_eq!(wrong, 0, "some kernels are wrong: their times were not taken");
    Ok(())
}
