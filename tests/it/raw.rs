//! A server below HTTP, for answers that no well-behaved one gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::{Duration, sleep};
use tokio_rustls::TlsAcceptor;

/// What is written once a request's head has come.
#[derive(Clone)]
pub enum Answer {
    /// These bytes; then the connection is closed.
    Bytes(Vec<u8>),
    /// The first, and then the second over and over, until nobody reads.
    Endless(Vec<u8>, Vec<u8>),
    /// The first, and then the second over and over, so slowly.
    Drip(Vec<u8>, Vec<u8>, Duration),
}

impl Answer {
    /// A whole answer of this status line, these headers and this body.
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
            Self::Drip(first, rest, gap) => {
                to.write_all(first).await?;
                loop {
                    to.write_all(rest).await?;
                    to.flush().await?;
                    sleep(*gap).await;
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
    pub async fn start(answer: Answer) -> Self {
        Self::serve(answer, None).await
    }

    /// By TLS, with a certificate that it signed itself.
    pub async fn self_signed(answer: Answer) -> Self {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self::serve(answer, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn serve(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, tls) = (answer.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => meet(stream, &answer).await,
                        Some(tls) => meet(tls.accept(stream).await?, &answer).await,
                    }
                });
            }
        });
        Self { port, connections }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How often somebody came.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads a request's head, and answers.
async fn meet(stream: impl AsyncRead + AsyncWrite + Unpin, answer: &Answer) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    answer.write(&mut stream).await
}
