use axum::http::HeaderMap;
use doorstep_domain::TraceParent;

/// The trace that a request belongs to, from its header `traceparent`. One that is invalid, or there more than once, is
/// none, as W3C Trace Context demands.
pub(crate) fn trace_of(headers: &HeaderMap) -> Option<TraceParent> {
    let mut all = headers.get_all("traceparent").iter();
    match (all.next(), all.next()) {
        (Some(one), None) => one.to_str().ok()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_or_repeated_header_is_none() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let headers = |values: &[&'static str]| -> HeaderMap {
            let header =
                |value: &&'static str| ("traceparent".parse().unwrap(), value.parse().unwrap());
            values.iter().map(header).collect()
        };
        assert_eq!(trace_of(&headers(&[good])), good.parse().ok());
        for none in [&[][..], &["nonsense"], &[good, good], &["00-é"]] {
            assert_eq!(trace_of(&headers(none)), None, "{none:?}");
        }
    }
}
