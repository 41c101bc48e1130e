//! Programs of others that listen on a port.

use std::net::{Ipv4Addr, TcpListener};

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::until;

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Starts a program and waits until it listens on `port`.
pub(crate) async fn start(mut command: Command, port: u16) -> Child {
    let mut child = command.spawn().unwrap();
    until("the program to listen", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended: {command:?}");
        async move { TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok() }
    })
    .await;
    child
}
