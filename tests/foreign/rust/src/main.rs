//! Watches a symbol over a plain WebSocket and prints its prices, one JSON value a line; comes back after an error.

use std::{env, thread, time::Duration};
use tungstenite::{client::IntoClientRequest, connect, Message, Result};

fn watch(url: &str, token: &str, symbol: &str) -> Result<()> {
    let mut request = url.into_client_request()?;
    let bearer = format!("Bearer {token}").parse().expect("a token is a header");
    request.headers_mut().insert("Authorization", bearer);
    let (mut socket, _) = connect(request)?;
    let call = format!(r#"{{"action":"subscribe","symbols":["{symbol}"],"high_frequency":true}}"#);
    socket.send(Message::Text(call.into()))?;
    loop {
        if let Message::Text(text) = socket.read()? {
            if text.contains(r#""type":"price_update""#) {
                println!("{text}");
            }
        }
    }
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let url = arguments[1].replacen("http", "ws", 1) + "/ws";
    loop {
        if let Err(error) = watch(&url, &arguments[2], &arguments[3]) {
            eprintln!("{error}");
        }
        thread::sleep(Duration::from_millis(500));
    }
}
