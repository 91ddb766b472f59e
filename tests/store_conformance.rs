//! The store in memory keeps the rules of a shared store.

use std::sync::Arc;

use tower_offer_dedup::store::{MemoryStore, conformance};

#[tokio::test(start_paused = true)]
async fn memory_store_conforms() {
    let store = MemoryStore::new();
    conformance::check([Arc::new(store.node()), Arc::new(store.node())]).await;
}
