//! `renderhook demo`: the whole story on one machine with nothing set up.
//!
//! A private Postgres, a folder as the store, a stand-in Magic Hour whose renders live by themselves, and the service
//! itself, exactly as `serve` runs it. Everything is kept in one folder, so that a second start finds the renders of the
//! first; nothing is left running, however the demo ends.

mod stage;
mod story;

use std::path::PathBuf;

use anyhow::{Context, anyhow};

use self::stage::Stage;
use renderhook::runtime::{stop_signal, telemetry};

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Exits once the story is told: 0 if all went as it should
    #[arg(long)]
    once: bool,
    /// Where the database, the files and the log are kept
    #[arg(long, value_name = "FOLDER", default_value = ".renderhook")]
    folder: PathBuf,
    /// The port to listen on; another one if it is taken
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

/// One line of the story.
fn say(who: &str, what: impl AsRef<str>) {
    println!("{who:>11}  {}", what.as_ref());
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.folder).with_context(|| format!("cannot make {}", args.folder.display()))?;
    let folder = args.folder.canonicalize()?;
    let log = std::fs::File::options().create(true).append(true).open(folder.join("service.log"))?;
    telemetry::start(renderhook::runtime::LogFormat::Json, std::sync::Arc::new(log));
    // Set before anything runs that has to be stopped again.
    let mut asked_to_stop = std::pin::pin!(stop_signal());
    // The cluster lives as long as this thread: it is started here, on the main one.
    let cluster = tokio::select! {
        cluster = stage::cluster(&folder) => cluster?,
        _ = &mut asked_to_stop => return Ok(()),
    };
    let played = play(&args, &folder, &cluster, &mut asked_to_stop).await;
    let stopped = cluster.stop().await.context("cannot stop Postgres");
    println!("everything is stopped; {} keeps the database, the files and the log", folder.display());
    played.and(stopped)
}

async fn play(
    args: &Args,
    folder: &std::path::Path,
    cluster: &private_postgres::Cluster,
    asked_to_stop: &mut (impl Future<Output = std::io::Result<()>> + Unpin),
) -> anyhow::Result<()> {
    let stage = Stage::set(folder, cluster, args.port).await?;
    let story = async {
        story::tell(&stage).await?;
        if args.once {
            return Ok(());
        }
        story::how_to_go_on(&stage)?;
        std::future::pending().await
    };
    let told = tokio::select! {
        told = story => told,
        _ = asked_to_stop => if args.once { Err(anyhow!("stopped before the story was told")) } else { Ok(()) },
    };
    let cleared = stage.clear().await;
    told.and(cleared)
}
