//! The places in a message that pointers lead to.

/// The places to read, as a tree of the tokens that lead there. The first is the whole message.
#[derive(Clone, Debug)]
pub(super) struct Places(Vec<Place>);

#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) members: Vec<Member>,
    pub(super) wanted: Wanted,
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) token: Box<str>,
    /// The token as an index of a list (RFC 6901 §4).
    pub(super) index: Option<usize>,
    pub(super) place: usize,
}

/// The readings of a string to keep at a place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) text: bool,
    pub(super) description: bool,
}

impl Wanted {
    pub(super) const TEXT: Self = Self {
        text: true,
        description: false,
    };
    pub(super) const DESCRIPTION: Self = Self {
        text: false,
        description: true,
    };
}

impl Places {
    /// Returns the place that `tokens` lead to. From now on it is read for `wanted`.
    pub(super) fn want(&mut self, tokens: &[String], wanted: Wanted) -> usize {
        let end = tokens.iter().fold(0, |place, token| self.member(place, token));
        self.0[end].wanted.text |= wanted.text;
        self.0[end].wanted.description |= wanted.description;
        end
    }

    pub(super) fn as_slice(&self) -> &[Place] {
        &self.0
    }

    fn member(&mut self, place: usize, token: &str) -> usize {
        let members = &self.0[place].members;
        if let Some(member) = members.iter().find(|member| *member.token == *token) {
            return member.place;
        }
        let new = self.0.len();
        self.0.push(Place::default());
        self.0[place].members.push(Member {
            token: token.into(),
            index: index(token),
            place: new,
        });
        new
    }
}

impl Default for Places {
    fn default() -> Self {
        Self(vec![Place::default()])
    }
}

/// Parses a token as an index of a list: digits only, without leading zeros.
fn index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    plain.then(|| token.parse().ok())?
}
