//! A TCP proxy in front of Redis that injects a fault into a request chosen by the test.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The fault of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The request is not forwarded; the client gets this error.
    Error(&'static str),
    /// The connection is closed before the request is forwarded.
    CutBefore,
    /// The server executes the request; the connection is closed before the reply is forwarded.
    CutAfter,
    /// The request and all later ones on the connection wait for [`RedisProxy::release`].
    Hold,
}

/// The script that a request runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verb {
    Take,
    Settle,
}

#[derive(Default)]
struct Plan {
    next: Mutex<Option<(Verb, Fault)>>,
    held: Notify,
    released: Notify,
}

/// The proxy. Forwards one request at a time per connection, so that replies keep their order.
pub struct RedisProxy {
    pub url: String,
    plan: Arc<Plan>,
}

impl RedisProxy {
    /// Starts a proxy for the Redis at `url`.
    pub async fn to(url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let at = rest.rsplit_once('@').map_or(rest, |(_, at)| at).trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let plan = Arc::<Plan>::default();
        let (watched, target) = (plan.clone(), at.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (plan, target) = (watched.clone(), target.clone());
                // If either side closes, the connection ends: nothing to report.
                tokio::spawn(async move { drop(forward(client, &target, &plan).await) });
            }
        });
        Self { url: url.replacen(&at, &format!("127.0.0.1:{port}"), 1), plan }
    }

    /// Injects a fault into the next request that runs this script.
    pub fn inject(&self, verb: Verb, fault: Fault) {
        *self.plan.next.lock().unwrap() = Some((verb, fault));
    }

    /// Waits until a request is held.
    pub async fn until_held(&self) {
        self.plan.held.notified().await;
    }

    /// Forwards the held request.
    pub fn release(&self) {
        self.plan.released.notify_one();
    }

    /// Whether the fault has been injected.
    pub fn has_injected(&self) -> bool {
        self.plan.next.lock().unwrap().is_none()
    }
}

async fn forward(client: TcpStream, target: &str, plan: &Plan) -> std::io::Result<()> {
    let (client_in, mut client_out) = client.into_split();
    let (server_in, mut server_out) = TcpStream::connect(target).await?.into_split();
    let (mut client_in, mut server_in) = (BufReader::new(client_in), BufReader::new(server_in));
    loop {
        let (request, words) = message(&mut client_in).await?;
        let planned = plan.next.lock().unwrap().take_if(|(verb, _)| verb_of(&words) == Some(*verb));
        match planned.map(|(_, fault)| fault) {
            Some(Fault::CutBefore) => return Ok(()),
            Some(Fault::Error(error)) => client_out.write_all(format!("-{error}\r\n").as_bytes()).await?,
            fault => {
                if fault == Some(Fault::Hold) {
                    plan.held.notify_one();
                    plan.released.notified().await;
                }
                server_out.write_all(&request).await?;
                let (reply, _) = message(&mut server_in).await?;
                if fault == Some(Fault::CutAfter) {
                    return Ok(());
                }
                client_out.write_all(&reply).await?;
            }
        }
    }
}

/// `EVALSHA sha 2 anchor never now spec calls …` takes; `EVALSHA sha 2 anchor never now spec leases unsolicited`
/// settles.
fn verb_of(words: &[Vec<u8>]) -> Option<Verb> {
    let [command, _, _, _, _, _, spec, third, _] = words else { return None };
    // Of all scripts only these two have a msgpack map here, and two arguments after it.
    if command != b"EVALSHA" || spec.first().is_none_or(|byte| *byte < 0x80) {
        return None;
    }
    match third.iter().all(u8::is_ascii_digit) {
        true => Some(Verb::Take),
        false => Some(Verb::Settle),
    }
}

/// One RESP message: its bytes, and the bulk strings in it.
async fn message(from: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let (mut raw, mut words, mut remaining) = (Vec::new(), Vec::new(), 1_i64);
    while remaining > 0 {
        remaining -= 1;
        let begin = raw.len();
        if from.read_until(b'\n', &mut raw).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&raw[begin..]).into_owned();
        let count = || line[1..].trim().parse::<i64>().unwrap_or(0).max(0);
        match line.as_bytes()[0] {
            b'*' => remaining += count(),
            b'$' if !line.starts_with("$-1") => {
                let mut word = vec![0; usize::try_from(count()).expect("a length") + 2];
                from.read_exact(&mut word).await?;
                raw.extend_from_slice(&word);
                word.truncate(word.len() - 2);
                words.push(word);
            }
            _ => {}
        }
    }
    Ok((raw, words))
}
