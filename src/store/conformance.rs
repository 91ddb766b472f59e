//! Checks of a [`SharedStore`](super::SharedStore): every implementation must pass them.
