//! Redis and Valkey servers as processes. They stop on drop.

mod certificates;
mod cluster;
mod folder;
mod server;

pub use self::{
    certificates::Certificates,
    cluster::{move_slot, start_cluster, start_cluster_with_tls},
    folder::Folder,
    server::{Engine, Monitor, Server},
};
