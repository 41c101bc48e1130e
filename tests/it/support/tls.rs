//! TLS in front of a server without it, with a certificate that only this test trusts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{CertificateParams, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use url::Url;

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With the `close_notify` of TLS, then a FIN.
    CloseNotify,
    /// With a FIN alone, as if the server had died.
    Abrupt,
}

/// The front. It ends with the runtime.
pub(crate) struct TlsFront {
    address: SocketAddr,
    folder: TempDir,
}

impl TlsFront {
    /// Accepts TLS at 127.0.0.1 and passes what comes to `server`.
    pub(crate) async fn start(server: SocketAddr, ending: Ending) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = Key(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap());
        let mut params = CertificateParams::new([address.ip().to_string()]).unwrap();
        params.serial_number = Some(SerialNumber::from(1));
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let folder = TempDir::new().unwrap();
        let text = BASE64_STANDARD.encode(&certificate);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        std::fs::write(folder.path().join("certificate.pem"), pem).unwrap();
        let key = PrivateKeyDer::try_from(key.0.to_pkcs8v1().unwrap().as_ref().to_vec()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection's errors are its client's.
                tokio::spawn(pass(acceptor.clone(), client, server, ending));
            }
        });
        Self { address, folder }
    }

    /// The same address of the server, through TLS.
    pub(crate) fn url(&self, plain: &Url) -> Url {
        let mut url = Url::parse(&plain.as_str().replacen("http:", "https:", 1)).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url
    }

    /// A file for `SSL_CERT_FILE`: a client that reads it trusts this front and nobody else.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }
}

/// The key of the certificate.
struct Key(EcdsaKeyPair);

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), bytes).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}

async fn pass(acceptor: TlsAcceptor, client: TcpStream, server: SocketAddr, ending: Ending) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = split(acceptor.accept(client).await?);
    let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    // The client's end is of no interest: the server ends each connection.
    let asked = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    copy(&mut from_server, &mut to_client).await?;
    to_client.flush().await?;
    match ending {
        Ending::CloseNotify => to_client.shutdown().await?,
        Ending::Abrupt => {}
    }
    asked.abort();
    Ok(())
}
