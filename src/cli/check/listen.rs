//! Checks whether the service can listen on its addresses.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::line::Finding;
use crate::config::{ApiListenSetting, Dependencies};

pub(super) struct ListenFindings {
    pub(super) public: Finding,
    /// `None` if there is no second address.
    pub(super) api: Option<Finding>,
}

/// Listens on each address for a moment.
pub(super) async fn check(dependencies: &Dependencies) -> ListenFindings {
    let public = match dependencies.listen {
        None => Finding::invalid("LISTEN_ADDR or PORT"),
        Some(address) => listen(address).await,
    };
    let api = match dependencies.api_listen {
        ApiListenSetting::Unset => None,
        ApiListenSetting::Invalid => Some(Finding::invalid("API_LISTEN_ADDR")),
        ApiListenSetting::Set(address) => Some(listen(address).await),
    };
    ListenFindings { public, api }
}

async fn listen(address: SocketAddr) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Finding::ok(format!("{address} is free")),
        // `check` is also run beside the service.
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Finding::warn(format!("{address} is in use: by the service, or by a program that keeps it from starting"))
        }
        Err(error) => Finding::fail(format!("{address} cannot be listened on: {error}")),
    }
}
