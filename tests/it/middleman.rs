//! A TCP proxy that reads what goes to Redis, and spoils a request of the test's choice.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// It does not reach the server, who seems to answer this error.
    Answer(&'static str),
    /// The connection ends before it gets through.
    CutBefore,
    /// The server does as it is told; the connection ends before its answer gets back.
    CutAfter,
    /// It waits for [`Middleman::release`], and all that comes after it on the connection.
    Hold,
}

/// Which script a request runs, as far as tests care.
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

/// Everything that goes to Redis by this way. It carries one request at a time, so that answers keep their order.
pub struct Middleman {
    pub url: String,
    plan: Arc<Plan>,
}

impl Middleman {
    /// A way to the Redis at `url`.
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
                // An end of either side ends the connection: there is nothing to tell.
                tokio::spawn(async move { drop(carry(client, &target, &plan).await) });
            }
        });
        Self { url: url.replacen(&at, &format!("127.0.0.1:{port}"), 1), plan }
    }

    /// The next request of this kind is spoiled so.
    pub fn spoil(&self, verb: Verb, fault: Fault) {
        *self.plan.next.lock().unwrap() = Some((verb, fault));
    }

    /// Waits until a request is held.
    pub async fn holds(&self) {
        self.plan.held.notified().await;
    }

    /// Lets the request that is held go on to the server.
    pub fn release(&self) {
        self.plan.released.notify_one();
    }

    /// Whether that has happened.
    pub fn has_spoiled(&self) -> bool {
        self.plan.next.lock().unwrap().is_none()
    }
}

async fn carry(client: TcpStream, target: &str, plan: &Plan) -> std::io::Result<()> {
    let (client_in, mut client_out) = client.into_split();
    let (server_in, mut server_out) = TcpStream::connect(target).await?.into_split();
    let (mut client_in, mut server_in) = (BufReader::new(client_in), BufReader::new(server_in));
    loop {
        let (request, words) = message(&mut client_in).await?;
        let planned = plan.next.lock().unwrap().take_if(|(verb, _)| verb_of(&words) == Some(*verb));
        match planned.map(|(_, fault)| fault) {
            Some(Fault::CutBefore) => return Ok(()),
            Some(Fault::Answer(error)) => client_out.write_all(format!("-{error}\r\n").as_bytes()).await?,
            after => {
                if after == Some(Fault::Hold) {
                    plan.held.notify_one();
                    plan.released.notified().await;
                }
                server_out.write_all(&request).await?;
                let (answer, _) = message(&mut server_in).await?;
                if after == Some(Fault::CutAfter) {
                    return Ok(());
                }
                client_out.write_all(&answer).await?;
            }
        }
    }
}

/// `EVALSHA sha 1 anchor now spec calls` takes; `EVALSHA sha 1 anchor now spec leases unsolicited` settles.
fn verb_of(words: &[Vec<u8>]) -> Option<Verb> {
    let [command, _, _, _, _, spec, calls, more @ ..] = words else { return None };
    // Where others have a number, or nothing, these have a msgpack map.
    if command != b"EVALSHA" || spec.first().is_none_or(|byte| *byte < 0x80) {
        return None;
    }
    match more.len() {
        0 if calls.iter().all(u8::is_ascii_digit) => Some(Verb::Take),
        1 => Some(Verb::Settle),
        _ => None,
    }
}

/// One message as it came, and the bulk strings in it.
async fn message(from: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let (mut raw, mut words, mut left) = (Vec::new(), Vec::new(), 1_i64);
    while left > 0 {
        left -= 1;
        let begin = raw.len();
        if from.read_until(b'\n', &mut raw).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&raw[begin..]).into_owned();
        let count = || line[1..].trim().parse::<i64>().unwrap_or(0).max(0);
        match line.as_bytes()[0] {
            b'*' => left += count(),
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
