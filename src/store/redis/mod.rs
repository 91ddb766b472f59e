//! [`RedisStore`]: a store on Redis 6.2 or newer, or on Valkey.

mod connect;
mod inspect;
mod keys;
mod link;
mod notices;
mod options;
mod reply;
mod scripts;
mod seal;
mod server;
mod store;

pub use self::{options::RedisOptions, store::RedisStore};
