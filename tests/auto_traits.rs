//! Auto traits of the public types: `Send`, `Sync`, `Unpin` and unwind safety. Losing one breaks users.

use std::{
    convert::Infallible,
    panic::{RefUnwindSafe, UnwindSafe},
    rc::Rc,
    task::{Context, Poll},
};

use tower::Service;
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedup, OfferDedupBuilder, OfferDedupHandle, OfferDedupLayer, PeerKey, Reason, Refusal,
    Refuse, Replay, ResponseFuture, Stats, WhenBusy,
    answer::{Duplicates, EveryOk, Settled, SizeOf},
    builder::{AnswerUnset, Detached, Inline, OffersUnset},
};

fn shared<T: Send + Sync + Unpin + 'static>() {}
fn sent<T: Send + 'static>() {}
fn plain<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Clone + std::fmt::Debug + 'static>() {}

/// Asserts that a type does not implement `trait_`. If it did, the call would be ambiguous and not compile.
macro_rules! is_not {
    ($type:ty: $($trait_:tt)+) => {{
        trait AmbiguousIf<A> {
            fn check() {}
        }
        impl<T: ?Sized> AmbiguousIf<()> for T {}
        impl<T: ?Sized + $($trait_)+> AmbiguousIf<u8> for T {}
        <$type as AmbiguousIf<_>>::check();
    }};
}

type Offers = fn(&String) -> Option<Offer>;
type Refusing = Refuse<fn(&Refusal) -> String>;
type Replaying = Replay<fn(&Refusal) -> String>;
type Response<S, A> = ResponseFuture<S, Offers, A, String>;

/// A service whose futures are of type `F`.
struct Inner<F>(fn() -> F);

impl<F> Clone for Inner<F> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<F: Future<Output = Result<String, Infallible>>> Service<String> for Inner<F> {
    type Response = String;
    type Error = Infallible;
    type Future = F;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: String) -> F {
        self.0()
    }
}

type Sending = std::pin::Pin<Box<dyn Future<Output = Result<String, Infallible>> + Send>>;
type Local = std::pin::Pin<Box<dyn Future<Output = Result<String, Infallible>>>>;

#[test]
fn value_types_implement_common_traits() {
    plain::<Offer>();
    plain::<PeerKey>();
    plain::<Fingerprint>();
    plain::<Refusal>();
    plain::<Reason>();
    plain::<Stats>();
    plain::<WhenBusy>();
    plain::<Duplicates>();
    plain::<Settled<String, String>>();
    plain::<EveryOk>();
    plain::<SizeOf>();
    plain::<OffersUnset>();
    plain::<AnswerUnset>();
    plain::<Inline>();
    plain::<Detached>();
    plain::<OfferDedupBuilder>();
    plain::<OfferDedupBuilder<Offers, AnswerUnset, Detached>>();
}

#[cfg(feature = "redis")]
#[test]
fn stores_cross_threads() {
    plain::<tower_offer_dedup::store::RedisOptions>();
    shared::<tower_offer_dedup::store::RedisStore>();
}

#[test]
fn layers_and_services_cross_threads() {
    shared::<OfferDedupHandle>();
    shared::<OfferDedupLayer<Offers, Refusing>>();
    shared::<OfferDedupLayer<Offers, Replaying, Detached>>();
    shared::<OfferDedup<Inner<Sending>, Offers, Refusing>>();
    shared::<OfferDedup<Inner<Sending>, Offers, Replaying, Detached>>();
    sent::<OfferDedup<Inner<Local>, Offers, Refusing>>();
}

#[test]
fn response_future_is_send_if_inner_is() {
    sent::<Response<Inner<Sending>, Refusing>>();
    sent::<Response<Inner<Sending>, Replaying>>();
    is_not!(Response<Inner<Local>, Refusing>: Send);
    is_not!(Response<Inner<Sending>, Refusing>: Sync);
}

#[test]
fn send_depends_on_the_parts() {
    is_not!(OfferDedupLayer<Rc<()>, Refusing>: Send);
    is_not!(OfferDedup<Rc<()>, Offers, Refusing>: Send);
}

#[test]
fn detached_service_requires_send_futures() {
    fn calls<S: Service<String>>() {}
    calls::<OfferDedup<Inner<Local>, Offers, Refusing>>();
    calls::<OfferDedup<Inner<Sending>, Offers, Replaying, Detached>>();
    is_not!(OfferDedup<Inner<Local>, Offers, Replaying, Detached>: Service<String>);
}
