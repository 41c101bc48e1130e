//! The plans of the hot statements, as they ran: `EXPLAIN (ANALYZE, BUFFERS)` by `auto_explain`.

use renderhook::runtime::Clock;

use super::Options;
use crate::backlog::BenchDatabase;
use crate::environment::Environment;
use crate::file_server::NoiseServer;
use crate::load::{self, Requests};
use crate::pairs::median;
use crate::plans::{self, Statement};
use crate::service::ServiceProcess;
use crate::workload;

/// How many renders the tables hold.
const RENDERS: usize = 20_000;
/// How many statements are printed: those that took the most time together.
const STATEMENTS: usize = 16;
/// How many events are sent, and how many files are stored, while plans are logged.
const EVENTS: usize = 2_000;
const FILES: usize = 200;
const CONNECTIONS: usize = 32;
const RUN: &str = "explain";

pub(super) async fn run(environment: &Environment, options: &Options) -> anyhow::Result<()> {
    let url = environment.database(RUN).await?;
    let folder = environment.folder(RUN)?;
    let no_downloads = [("DOWNLOAD_CONCURRENCY", "0")];
    let service = ServiceProcess::renderhook(&url, &folder, &no_downloads).await?;
    let now = Clock::system().now();
    let completed = (0..RENDERS).map(|number| workload::completed(RUN, number, now));
    load::all(service.address, completed.map(|event| workload::delivery(event, now)).collect()).await?;
    service.stop().await?;
    environment.vacuum(RUN).await?;

    environment.log_plans(RUN).await?;
    let service = ServiceProcess::renderhook(&url, &folder, &no_downloads).await?;
    let events = workload::events("explained", EVENTS, now).into_iter().map(|event| workload::delivery(event, now));
    load::run(service.address, Requests::once(events.collect()), CONNECTIONS, options.duration()).await?;
    let reads = (0..EVENTS).map(|number| workload::get(&format!("/renders/{}", workload::id(RUN, number)))).collect();
    load::run(service.address, Requests::once(reads), CONNECTIONS, options.duration()).await?;
    service.stop().await?;
    store_files(environment).await?;
    print(plans::parse(&environment.postgres_log()?));
    Ok(())
}

/// Stores files from an otherwise empty database.
async fn store_files(environment: &Environment) -> anyhow::Result<()> {
    const DATABASE: &str = "explain_files";
    let backlog = BenchDatabase::prepare(environment.database(DATABASE).await?).await?;
    let files = NoiseServer::start()?;
    let render = |number| Ok((format!("explain-{number}"), vec![files.url(&format!("{number}"), 20 << 10)?]));
    backlog.record((0..FILES).map(render).collect::<anyhow::Result<_>>()?).await?;
    environment.log_plans(DATABASE).await?;
    backlog.store(&files, &environment.folder(DATABASE)?, &[("DOWNLOAD_CONCURRENCY", "32")]).await?;
    Ok(())
}

fn print(statements: impl IntoIterator<Item = (String, Statement)>) {
    let total_ms = |statement: &Statement| statement.durations_ms.iter().sum::<f64>();
    let mut statements: Vec<_> = statements.into_iter().collect();
    statements.sort_by(|(_, one), (_, other)| total_ms(other).total_cmp(&total_ms(one)));
    println!("\n### Statements\n\nBy total time, including the time that `auto_explain` adds.");
    for (text, statement) in statements.into_iter().take(STATEMENTS) {
        let executions = statement.durations_ms.len();
        println!("\n{executions} executions, median {:.2} ms:\n", median(statement.durations_ms));
        println!("```text\n{text}\n\n{}\n```", statement.plan);
    }
}
