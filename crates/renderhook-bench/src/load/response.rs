//! An HTTP answer, as far as a load generator reads it.

/// The status and the length of a whole answer at the start of `bytes`; `None` while it is not all there.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(u16, usize)>, Malformed> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..head]).map_err(|_| Malformed)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or(Malformed)?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |(_, value)| value.trim().parse::<usize>().ok())
        .ok_or(Malformed)?;
    let whole = head + 4 + length;
    Ok((bytes.len() >= whole).then_some((status, whole)))
}

/// What was received is no HTTP answer with a `Content-Length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 503 ServiceProcess Unavailable\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1";
        for part in 0..answer.len() - 8 {
            assert_eq!(read(&answer[..part]), Ok(None), "{part}");
        }
        assert_eq!(read(answer), Ok(Some((503, answer.len() - 8))));
        assert_eq!(read(b"HTTP/1.1 204 No Content\r\n\r\n"), Ok(Some((204, 27))));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert_eq!(read(b"hello\r\n\r\n"), Err(Malformed));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), Err(Malformed));
        assert_eq!(read(b"HTTP/1.1 200 OK\xff\r\n\r\n"), Err(Malformed));
    }
}
