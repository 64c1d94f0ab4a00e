use base64ct::{Base64UrlUnpadded, Encoding as _};
use doorstep_domain::TokenHash;
use doorstep_domain::ports::Tokens;
use sha2::{Digest as _, Sha256};

/// Tokens of 256 random bits from the operating system, in base64url (RFC 4648 section 5): 43 characters, all of
/// which are allowed in a header and in a WebSocket subprotocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomTokens;

impl Tokens for RandomTokens {
    fn mint(&self) -> String {
        let mut bits = [0; 32];
        // Without randomness no token can be made: the request ends as a 500, and the next one tries again.
        getrandom::fill(&mut bits).expect("the operating system provides random bits");
        Base64UrlUnpadded::encode_string(&bits)
    }

    fn hash(&self, token: &str) -> TokenHash {
        TokenHash::new(Sha256::digest(token).into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tokens_differ_and_fit_a_header() {
        let tokens: HashSet<_> = (0..1000).map(|_| RandomTokens.mint()).collect();
        assert_eq!(tokens.len(), 1000);
        for token in tokens {
            assert_eq!(token.len(), 43);
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        }
    }

    #[test]
    fn tokens_are_hashed_with_sha_256() {
        // The example of FIPS 180-2, appendix B.1.
        let digest = RandomTokens.hash("abc");
        assert_eq!(digest.as_bytes()[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_ne!(digest, RandomTokens.hash("abd"));
    }
}
