//! [`Balancer`]: a load balancer in front of the nodes, which loses answers and rewrites hosts.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use e2e::http::{Message, listen};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
};

use crate::fleet::NAMES;

/// The faults of a balancer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// Sends each node its own address as `Host`.
    pub(crate) rewrites_host: bool,
    /// Closes the client's connection in place of the answers to the first `POST`s.
    pub(crate) lost_answers: usize,
}

/// A `POST` that reached a node.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) node: usize,
    pub(crate) request: Message,
    pub(crate) answer: Message,
}

/// A running balancer. Stopped on drop.
pub(crate) struct Balancer {
    pub(crate) address: String,
    posts: Arc<Mutex<Vec<Post>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Relay {
    nodes: Vec<String>,
    habits: Habits,
    turns: Arc<AtomicUsize>,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Balancer {
    pub(crate) async fn start(nodes: Vec<String>, habits: Habits) -> Self {
        let relay = Relay {
            nodes,
            habits,
            turns: Arc::default(),
            posts: Arc::default(),
        };
        let posts = Arc::clone(&relay.posts);
        let (address, tasks) = listen(move |stream| relay.clone().serve(stream)).await;
        Self {
            address,
            posts,
            _tasks: tasks,
        }
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().expect("the lock should not be poisoned").clone()
    }
}

impl Relay {
    async fn serve(self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(request) = Message::read(&mut stream).await? {
            let node = self.route(&request);
            let answer = self.passed_on(&request, node).exchange(&self.nodes[node]).await?;
            if request.is("POST") {
                let mut posts = self.posts.lock().expect("the lock should not be poisoned");
                posts.push(Post {
                    node,
                    request,
                    answer: answer.clone(),
                });
                if posts.len() <= self.habits.lost_answers {
                    return Ok(());
                }
            }
            stream.write_all(&answer.bytes()).await?;
        }
        Ok(())
    }

    /// The node that a session's URL names, else each in turn.
    fn route(&self, request: &Message) -> usize {
        let path = request.head.split(' ').nth(1).unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let named = last
            .split_once('-')
            .and_then(|(name, _)| NAMES.iter().position(|node| *node == name));
        named.unwrap_or_else(|| self.turns.fetch_add(1, Relaxed) % self.nodes.len())
    }

    fn passed_on(&self, request: &Message, node: usize) -> Message {
        let mut request = request.clone();
        if self.habits.rewrites_host {
            let mut lines: Vec<_> = request.head.lines().map(str::to_owned).collect();
            for line in &mut lines {
                if line.to_ascii_lowercase().starts_with("host:") {
                    *line = format!("Host: {}", self.nodes[node]);
                }
            }
            request.head = lines.join("\r\n") + "\r\n";
        }
        request
    }
}
