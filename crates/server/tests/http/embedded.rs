//! A configuration in an application of one's own: its event proxies decide, beside hooks of the application.

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, RpcEvent, SubscribeEvent, SubscribeOptions,
};
use spinward::wire::Protocol;
use spinward::{Answer, Client};
use spinward_server::app::Embedded;
use spinward_server::config::{self, Vars};
use spinward_server::session::ServerHooks;
use spinward_test::client::{ClientError, TestClient};
use spinward_testkit::servers::Folder;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Requests that the back end received: path and body.
type Received = Arc<Mutex<Vec<(String, Value)>>>;

/// Answers each proxy by its path.
async fn back_end() -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Received::default();
    let log = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&log)));
        }
    });
    (format!("http://{address}"), received)
}

async fn answer(stream: TcpStream, log: Received) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(rest) = line.strip_prefix("POST /") {
                rest.split(' ').next().unwrap().clone_into(&mut path);
            }
            if let Some(rest) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let reply = match &*path {
            "connect" => json!({"result": {"user": "ann"}}),
            "subscribe" if body["channel"] == "secrets" => json!({"error": {"code": 1403, "message": "no"}}),
            _ => json!({"result": {}}),
        };
        log.lock().push((path, body));
        let reply = reply.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", reply.len());
        stream.write_all(format!("{head}{reply}").as_bytes()).await.unwrap();
    }
}

/// Answers methods itself, and leaves the rest to the configuration.
struct App(ServerHooks);

impl Hooks for App {
    fn connect(&self, request: ConnectEvent) -> Decision<ConnectReply> {
        self.0.connect(request)
    }

    fn subscribe(&self, client: &Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        self.0.subscribe(client, request)
    }

    fn rpc(&self, client: &Client, call: RpcEvent) -> Decision<Bytes> {
        Answer::allow(json!({"hello": client.user(), "method": call.method}).to_string().into())
    }

    fn channel_occupied(&self, channel: &str) {
        self.0.channel_occupied(channel);
    }

    fn channel_vacated(&self, channel: &str) {
        self.0.channel_vacated(channel);
    }
}

fn of(received: &Received, path: &str) -> Vec<Value> {
    received.lock().iter().filter(|(of, _)| of == path).map(|(_, body)| body.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_decides_in_an_application_of_ones_own() {
    let (url, received) = back_end().await;
    let proxy = |event: &str| json!({"endpoint": format!("{url}/{event}"), "timeout": "5s"});
    let Value::Object(options) = json!({
        "client": {"proxy": {"connect": {"enabled": true, "endpoint": format!("{url}/connect"), "timeout": "5s"}}},
        "channel": {
            "without_namespace": {"subscribe_proxy_enabled": true, "state_proxy_enabled": true},
            "proxy": {"subscribe": proxy("subscribe"), "state": proxy("state")},
            "state": {"vacated_event_delay": "0s"},
        },
    }) else {
        unreachable!()
    };
    let loaded = config::from_tree(options, &Vars::default(), &[]).unwrap();
    let embedded = Embedded::start_with(&loaded.config, App).unwrap();

    let mut client = TestClient::open(embedded.node(), Protocol::Json, Handshake::default());
    client.connect("").await.unwrap();
    client.subscribe("news").await.unwrap();
    let refused = client.subscribe("secrets").await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(ref error) if error.code == 1403), "{refused:?}");
    assert_eq!(client.rpc("greet", "{}").await.unwrap(), r#"{"hello":"ann","method":"greet"}"#);
    assert_eq!(of(&received, "connect").len(), 1);
    let asked: Vec<_> = of(&received, "subscribe").iter().map(|body| body["channel"].clone()).collect();
    assert_eq!(asked, ["news", "secrets"]);

    embedded.shutdown(Duration::from_secs(10)).await;
    let events: Vec<_> = of(&received, "state")
        .iter()
        .flat_map(|body| body["events"].as_array().unwrap().clone())
        .map(|event| (event["channel"].clone(), event["type"].clone()))
        .collect();
    assert_eq!(events, [("news".into(), "occupied".into()), ("news".into(), "vacated".into())]);
}

#[tokio::test]
async fn a_configuration_that_makes_no_node_names_the_option() {
    let mut options = config::Config::default();
    options.channel.proxy.subscribe.endpoint = "ftp://127.0.0.1".to_owned();
    options.channel.without_namespace.subscribe_proxy_enabled = true;
    let error = Embedded::start(&options).err().unwrap().to_string();
    assert!(error.contains("channel.proxy.subscribe"), "{error}");
}

/// Ends the example with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_example_decides_by_its_configuration() {
    let folder = Folder::new("embedded");
    let file = folder.path().join("config.json");
    let options = json!({
        "client": {"allow_anonymous_connect_without_token": true},
        "channel": {"namespaces": [{"name": "news", "allow_subscribe_for_anonymous": true, "allow_subscribe_for_client": true}]},
    });
    std::fs::write(&file, options.to_string()).unwrap();
    // Cargo has built it beside this test.
    let mut example = std::env::current_exe().unwrap();
    example.pop();
    example.set_file_name("examples");
    let mut process = std::process::Command::new(example.join("embedded"));
    let mut process =
        process.arg(&file).arg("127.0.0.1:0").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.take().unwrap()), &mut line)
        .unwrap();
    let _running = Running(process);
    let address = line.trim().rsplit(' ').next().unwrap();
    let mut client = TestClient::dial(address, "/connection/websocket", "").await.unwrap();
    client.connect("").await.unwrap();
    client.subscribe("news:today").await.unwrap();
    let refused = client.subscribe("other").await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(ref error) if error.code == 103), "{refused:?}");
}
