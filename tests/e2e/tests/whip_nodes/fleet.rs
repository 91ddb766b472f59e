//! [`Fleet`]: nodes that share a server.

use std::fs;

use e2e::{
    http::Message,
    redis::{Engine, Folder, Server},
    whip_server::{OFFER, WhipServer},
};
use serde_json::Value;

/// The names of nodes, in order.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

/// Running nodes. Stopped on drop.
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<WhipServer>,
    pub(crate) store: Server,
    /// Has the files of secrets.
    _folder: Folder,
}

impl Fleet {
    /// Starts a node for each list of flags.
    pub(crate) fn start(each: &[&[&str]]) -> Self {
        let each: Vec<_> = each.iter().map(|flags| (*flags, "a-secret-of-all-the-nodes")).collect();
        Self::start_with_secrets(&each)
    }

    /// Starts a node for each list of flags, with the text of its file of secrets.
    pub(crate) fn start_with_secrets(each: &[(&[&str], &str)]) -> Self {
        let store = Server::start(Engine::Redis, &[]);
        let folder = Folder::new();
        let url = store.url();
        let nodes = each.iter().zip(NAMES).map(|((flags, secrets), name)| {
            let file = folder.path().join(name);
            fs::write(&file, secrets).expect("the file should be writable");
            let file = file.to_str().expect("the path should be text");
            let shared = ["--redis", &url, "--secret-file", file, "--node", name];
            WhipServer::start(&[&shared, *flags].concat())
        });
        Self {
            nodes: nodes.collect(),
            store,
            _folder: folder,
        }
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// The sum over all nodes of a number in their stats.
    pub(crate) async fn sum(&self, number: impl Fn(&Value) -> &Value) -> u64 {
        let mut sum = 0;
        for node in &self.nodes {
            sum += number(&node.stats().await).as_u64().expect("it should be a number");
        }
        sum
    }

    /// Returns the number of sessions that all nodes have created: the calls of their handlers that went well.
    pub(crate) async fn created(&self) -> u64 {
        self.sum(|stats| &stats["created"]).await
    }
}

/// An offer like [`OFFER`], which no other number makes.
pub(crate) fn offer(number: usize) -> String {
    OFFER.replace("a=ice-ufrag:5cd1ef85", &format!("a=ice-ufrag:5cd1{number:04}"))
}

/// Returns what all answers to one offer have in common.
pub(crate) fn identity(answer: &Message) -> (u16, Option<&str>, Option<&str>, &str) {
    (
        answer.status(),
        answer.field("location"),
        answer.field("etag"),
        answer.text(),
    )
}
