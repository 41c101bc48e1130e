//! The process itself: the size of the binary, the time to start, and the memory while nothing happens.

use std::fs;
use std::time::Duration;

use super::Options;
use crate::environment::{Environment, release};
use crate::pairs::median;
use crate::service::ServiceProcess;
use crate::table;

/// How long an idle process is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(2);

pub(super) async fn run(environment: &Environment, options: &Options) -> anyhow::Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "sizes of files are exact")]
    let mib = fs::metadata(release("renderhook")?)?.len() as f64 / f64::from(1 << 20);
    let url = environment.database("process").await?;
    let folder = environment.folder("process")?;
    let mut starts = Vec::new();
    let mut memory = Vec::new();
    // The first start applies the migrations.
    let first = ServiceProcess::renderhook(&url, &folder, &[]).await?;
    let migrated = first.ready_after;
    first.stop().await?;
    for _ in 0..options.pairs {
        let service = ServiceProcess::renderhook(&url, &folder, &[]).await?;
        starts.push(service.ready_after.as_secs_f64() * 1e3);
        tokio::time::sleep(IDLE).await;
        memory.push(service.memory_mib()?.0);
        service.stop().await?;
    }
    table::begin("Process", &["", "measured", "target"]);
    table::row(&[&"release binary", &format!("{mib:.1} MiB"), &"20 MiB"]);
    table::row(&[&"start to ready", &format!("{:.0} ms", median(starts)), &"300 ms"]);
    table::row(&[&"first start, with migrations", &format!("{:.0} ms", migrated.as_secs_f64() * 1e3), &""]);
    table::row(&[&"memory, idle", &format!("{:.1} MiB", median(memory)), &"20 MiB"]);
    Ok(())
}
