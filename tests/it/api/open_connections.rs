//! Clients that open connections and send nothing, or little.

use super::*;
use crate::crash::serving;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A server with these limits, until the token is dropped.
async fn serving_with(max: u32, head: &str, idle: &str) -> (String, tokio_util::sync::DropGuard) {
    let mut app = Api::with_devices(0).await.test.app;
    app.settings.http.connections_max = max;
    app.settings.http.header_timeout = head.parse().unwrap();
    app.settings.http.idle_timeout = idle.parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    tokio::spawn(http::serve(app, listener, stop.clone()));
    (address, stop.drop_guard())
}

async fn connected(address: &str, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream
}

/// What arrives until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = timeout(TIMEOUT, stream.read_to_end(&mut bytes)).await.expect("the server closes it");
    String::from_utf8(bytes).unwrap()
}

/// A response's head and body, on a connection that stays open.
async fn asked(stream: &mut TcpStream, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut bytes = vec![0; 10_000];
    let read = timeout(TIMEOUT, stream.read(&mut bytes)).await.expect("an answer").unwrap();
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

async fn health(address: &str) -> Value {
    let answer =
        rest(connected(address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Half of a request: its handler waits for the body.
const HALF: &str = "POST /v1/connections HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                    Content-Length: 100\r\nAuthorization: Bearer KEY\r\n\r\n{";

#[tokio::test]
async fn connections_without_a_request_are_closed_in_time() {
    let (address, _stop) = serving_with(0, "400ms", "900ms").await;
    let began = Instant::now();
    let ended = async |stream| {
        rest(stream).await;
        began.elapsed().as_millis()
    };
    let slow = connected(&address, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    let mut idle = connected(&address, "").await;
    assert!(asked(&mut idle, "/healthz").await.starts_with("HTTP/1.1 200"));
    // A second head that does not end has the shorter limit, from its first byte.
    let mut second = connected(&address, "").await;
    assert!(asked(&mut second, "/healthz").await.starts_with("HTTP/1.1 200"));
    second.write_all(b"GET ").await.unwrap();
    let silent = connected(&address, "").await;
    let (silent, slow, idle, second) = tokio::join!(ended(silent), ended(slow), ended(idle), ended(second));
    for (at, (least, most)) in
        [silent, slow, idle, second].into_iter().zip([(350, 850), (350, 850), (850, 3_000), (350, 850)])
    {
        assert!((least..most).contains(&at), "{silent} {slow} {idle} {second}");
    }
}

#[tokio::test]
async fn client_that_does_not_read_is_closed() {
    let (address, _stop) = serving_with(0, "10s", "500ms").await;
    let stream = connected(&address, "").await;
    // More responses than the buffers of both sockets hold.
    let (mut read, mut write) = stream.into_split();
    let request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    let closed = async { while write.write_all(request).await.is_ok() {} };
    timeout(TIMEOUT, closed).await.expect("the server closes it");
    let _ = read.read(&mut [0; 10]).await;
}

#[tokio::test]
async fn at_the_cap_the_longest_waiting_connection_makes_room() {
    let (address, _stop) = serving_with(2, "10s", "20s").await;
    let silent = connected(&address, "").await;
    let mut kept = connected(&address, "").await;
    assert!(asked(&mut kept, "/healthz").await.starts_with("HTTP/1.1 200"));
    let mut third = connected(&address, "").await;
    assert!(asked(&mut third, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(silent).await, "");
    let seen = asked(&mut kept, "/healthz").await;
    assert!(
        seen.contains(r#""connections":{"open":2,"max":2,"closed_for_others":1,"turned_away":0}"#),
        "{seen}"
    );
}

#[tokio::test]
async fn while_all_connections_work_health_is_answered_and_the_rest_told_503() {
    let api = Api::with_devices(0).await;
    let key = api.test.key(Role::User).await;
    let mut app = api.test.app.clone();
    app.settings.http.connections_max = 2;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(http::serve(app, listener, stop));
    let half = HALF.replace("KEY", &key);
    let mut working = [connected(&address, &half).await, connected(&address, &half).await];
    let refused = async {
        loop {
            let stream = connected(&address, "GET /v1/devices HTTP/1.1\r\nHost: x\r\n\r\n").await;
            let answer = rest(stream).await;
            if answer.starts_with("HTTP/1.1 503") {
                return answer.to_lowercase();
            }
        }
    };
    let refused = timeout(TIMEOUT, refused).await.unwrap();
    for word in ["urn:paceline:problem:no-connection-left", "retry-after: 5", "connection: close"] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    assert_eq!(health(&address).await["connections"]["turned_away"], 1);
    let ready = rest(connected(&address, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    // Silent clients do not take the reserve, and work goes on undisturbed.
    let mut silent = Vec::new();
    for _ in 0..30 {
        silent.push(connected(&address, "").await);
    }
    assert_eq!(health(&address).await["status"], "ok");
    let body = format!("{:99}", "}");
    working[0].write_all(body.as_bytes()).await.unwrap();
    let mut bytes = [0; 12];
    timeout(TIMEOUT, working[0].read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 422");
}

#[tokio::test]
async fn connection_that_rested_goes_on_and_never_takes_a_late_body_for_a_request() {
    let (address, _stop) = serving_with(0, "10s", "3s").await;
    let mut kept = connected(&address, "").await;
    assert!(asked(&mut kept, "/healthz").await.starts_with("HTTP/1.1 200"));
    // Refused before its body is read.
    let late = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = format!("POST /v1/connections HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", late.len());
    let mut refused = connected(&address, &head).await;
    let mut bytes = [0; 12];
    timeout(TIMEOUT, refused.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 401");
    // Buffers are given back meanwhile.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let _ = refused.write_all(late.as_bytes()).await;
    assert!(!rest(refused).await.contains("HTTP/1.1 200"));
    for _ in 0..2 {
        assert!(asked(&mut kept, "/healthz").await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn api_with_256_descriptors_outlives_361_slow_clients() {
    let t = TestApp::with(&[]).await;
    let key = t.key(Role::Reader).await;
    let serve = serving(&t, &[]);
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 256 && exec \"$@\"", "sh"]).arg(serve.as_std().get_program());
    shell.args(serve.as_std().get_args()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    shell.envs(serve.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = shell.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(TIMEOUT, lines.next_line()).await.unwrap().unwrap().unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let address = ready["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let mut slow = Vec::new();
    for _ in 0..361 {
        slow.push(connected(&address, "GET /v1/devices HTTP/1.1\r\nX-Slow: ").await);
    }
    let began = Instant::now();
    let request = format!(
        "GET /v1/devices HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    );
    let answer = rest(connected(&address, &request).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let closed = health(&address).await["connections"]["closed_for_others"].as_u64().unwrap();
    assert!(closed >= 361 - 128, "{closed}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
