//! A TCP server for responses that no well-behaved HTTP server sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::{Duration, sleep};
use tokio_rustls::TlsAcceptor;

/// What is written after the head of a request has arrived.
#[derive(Clone)]
pub enum Response {
    /// These bytes; then the connection is closed.
    Bytes(Vec<u8>),
    /// The first bytes, then the second repeatedly until the client closes.
    Endless(Vec<u8>, Vec<u8>),
    /// The first bytes, then the second repeatedly, one per interval.
    Drip(Vec<u8>, Vec<u8>, Duration),
}

impl Response {
    /// A complete response.
    pub fn of(status: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
        Self::Bytes([head.as_bytes(), body].concat())
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        match self {
            Self::Bytes(bytes) => to.write_all(bytes).await?,
            Self::Endless(first, rest) => {
                to.write_all(first).await?;
                loop {
                    to.write_all(rest).await?;
                }
            }
            Self::Drip(first, rest, interval) => {
                to.write_all(first).await?;
                loop {
                    to.write_all(rest).await?;
                    to.flush().await?;
                    sleep(*interval).await;
                }
            }
        }
        to.shutdown().await
    }
}

/// The server.
pub struct Raw {
    pub port: u16,
    connections: Arc<AtomicUsize>,
}

impl Raw {
    pub async fn start(response: Response) -> Self {
        Self::serve(response, None).await
    }

    /// Over TLS, with a self-signed certificate.
    pub async fn self_signed(response: Response) -> Self {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self::serve(response, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn serve(response: Response, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (response, tls) = (response.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => respond(stream, &response).await,
                        Some(tls) => respond(tls.accept(stream).await?, &response).await,
                    }
                });
            }
        });
        Self { port, connections }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Number of connections accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads the head of a request, and responds.
async fn respond(stream: impl AsyncRead + AsyncWrite + Unpin, response: &Response) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    response.write(&mut stream).await
}
