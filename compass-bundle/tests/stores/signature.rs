//! Verifies the signatures of requests, independently of the client.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Method, Uri};
use base64::Engine as _;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The scheme of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// AWS Signature Version 4.
    Aws,
    /// OSS Signature Version 4.
    Oss,
}

impl Scheme {
    fn algorithm(self) -> &'static str {
        match self {
            Self::Aws => "AWS4-HMAC-SHA256",
            Self::Oss => "OSS4-HMAC-SHA256",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Aws => "x-amz-",
            Self::Oss => "x-oss-",
        }
    }
}

/// Computes the signature that a request should have, from its own headers.
///
/// `uri` is the resource: the path is `/bucket/key` for OSS, whatever the URL of the request is.
/// Returns the signature of the request and the right one.
pub(crate) fn signatures(
    scheme: Scheme,
    secret: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<(String, String)> {
    let authorization = header(headers, "authorization")?;
    let fields = authorization.strip_prefix(scheme.algorithm())?;
    let field = |name: &str| {
        let mut fields = fields.split(',').map(str::trim);
        fields.find_map(|field| field.strip_prefix(name)).map(str::to_owned)
    };
    let credential = field("Credential=")?;
    let (_, scope) = credential.split_once('/')?;
    let extra = match scheme {
        Scheme::Aws => field("SignedHeaders=")?,
        Scheme::Oss => field("AdditionalHeaders=").unwrap_or_default(),
    };
    let payload = header(headers, &format!("{}content-sha256", scheme.prefix()))?;
    let canonical = canonical_request(scheme, method, uri, (headers, &extra), &payload);
    let date = header(headers, &format!("{}date", scheme.prefix()))?;
    let hash = hex(&Sha256::digest(canonical));
    let text = format!("{}\n{date}\n{scope}\n{hash}", scheme.algorithm());
    let start = if scheme == Scheme::Aws { "AWS4" } else { "aliyun_v4" };
    let key = scope.split('/').fold(format!("{start}{secret}").into_bytes(), |key, part| {
        hmac::<Sha256, 32>(&key, part.as_bytes()).to_vec()
    });
    Some((field("Signature=")?, hex(&hmac::<Sha256, 32>(&key, text.as_bytes()))))
}

/// Computes the signature of OSS version 1 as [`signatures`] does.
pub(crate) fn oss_v1_signatures(
    secret: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<(String, String)> {
    let authorization = header(headers, "authorization")?;
    let (_, given) = authorization.strip_prefix("OSS ")?.split_once(':')?;
    let text = |name| header(headers, name).unwrap_or_default();
    let own: BTreeMap<_, _> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-oss-"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()))
        .collect();
    let own: String = own.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let (md5, kind, date) = (text("content-md5"), text("content-type"), text("date"));
    let resource = oss_v1_resource(uri);
    let text = format!("{method}\n{md5}\n{kind}\n{date}\n{own}{resource}");
    let right = hmac::<Sha1, 20>(secret.as_bytes(), text.as_bytes());
    Some((given.to_owned(), base64::engine::general_purpose::STANDARD.encode(right)))
}

/// The path, and those parameters that version 1 signs.
fn oss_v1_resource(uri: &Uri) -> String {
    let decode =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let signed = ["continuation-token", "partNumber", "uploadId", "uploads", "versioning"];
    let mut query: Vec<_> = uri.query().unwrap_or_default().split('&').map(decode).collect();
    query.retain(|pair| signed.contains(&pair.split('=').next().unwrap_or_default()));
    query.sort();
    let path = decode(uri.path());
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

fn canonical_request(
    scheme: Scheme,
    method: &Method,
    uri: &Uri,
    (headers, extra): (&HeaderMap, &str),
    payload: &str,
) -> String {
    let names: Vec<_> = extra.split(';').filter(|name| !name.is_empty()).collect();
    let is_signed = |name: &str| match scheme {
        Scheme::Aws => names.contains(&name),
        Scheme::Oss => {
            names.contains(&name)
                || name.starts_with("x-oss-")
                || matches!(name, "content-type" | "content-md5")
        }
    };
    let signed: BTreeMap<_, _> = headers
        .iter()
        .filter(|(name, _)| is_signed(name.as_str()))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default().trim()))
        .collect();
    let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let mut query: Vec<_> = uri.query().unwrap_or_default().split('&').collect();
    query.retain(|pair| !pair.is_empty());
    let mut query: Vec<_> = query
        .into_iter()
        .map(|pair| match (scheme, pair.split_once('=')) {
            (Scheme::Aws, None) => format!("{pair}="),
            (Scheme::Oss, Some((name, ""))) => name.to_owned(),
            _ => pair.to_owned(),
        })
        .collect();
    query.sort_by(|one, other| one.split('=').next().cmp(&other.split('=').next()));
    let path = uri.path();
    format!("{method}\n{path}\n{}\n{headers}\n{extra}\n{payload}", query.join("&"))
}

/// HMAC (RFC 2104) with a hash whose blocks have 64 bytes. The keys of the tests are not longer.
fn hmac<H: Digest, const SIZE: usize>(key: &[u8], message: &[u8]) -> [u8; SIZE] {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = H::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message);
    let outer = H::new().chain_update(block.map(|byte| byte ^ 0x5c));
    outer.chain_update(inner.finalize()).finalize()[..].try_into().unwrap()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(scheme: Scheme, secret: &str, request: (&Method, &str), headers: &[(&str, &str)]) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: axum::http::HeaderName = name.to_lowercase().parse().unwrap();
        map.insert(name, value.parse().unwrap());
    }
    let uri = request.1.parse().unwrap();
    let (given, right) = signatures(scheme, secret, request.0, &uri, &map).unwrap();
    assert_eq!(given, right);
}

/// The examples of "Signature Calculations for the Authorization Header" in the S3 API reference.
#[test]
fn aws_signature_equals_published_examples() {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let scope = "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
    let authorization = |signed: &str, signature: &str| {
        format!("AWS4-HMAC-SHA256 {scope},SignedHeaders={signed},Signature={signature}")
    };
    let common = [
        ("host", "examplebucket.s3.amazonaws.com"),
        ("x-amz-content-sha256", empty),
        ("x-amz-date", "20130524T000000Z"),
    ];
    let range = authorization(
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    let headers = [&common[..], &[("range", "bytes=0-9"), ("authorization", &range)]].concat();
    check(Scheme::Aws, secret, (&Method::GET, "/test.txt"), &headers);
    for (query, signature) in [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "/?max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let signed = authorization("host;x-amz-content-sha256;x-amz-date", signature);
        let headers = [&common[..], &[("authorization", &signed)]].concat();
        check(Scheme::Aws, secret, (&Method::GET, query), &headers);
    }
}

/// The examples that Alibaba Cloud publishes with its software development kits.
#[test]
fn oss_signature_equals_published_examples() {
    let path = "/bucket/1234%2B-/123/1.txt?param1=value1&%2Bparam1=value3&%7Cparam1=value4\
                &%2Bparam2=&%7Cparam2=&param2=";
    let common = [
        ("x-oss-head1", "value"),
        ("abc", "value"),
        ("ZAbc", "value"),
        ("XYZ", "value"),
        ("content-type", "text/plain"),
        ("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
    ];
    for (date, more, extra, signature) in [
        (
            "20231216T162057Z",
            None,
            "",
            "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe",
        ),
        (
            "20231217T034736Z",
            Some(("x-oss-security-token", "token")),
            "",
            "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea",
        ),
        (
            "20231216T172512Z",
            None,
            "AdditionalHeaders=abc;zabc,",
            "4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f",
        ),
    ] {
        let day = &date[..8];
        let authorization = format!(
            "OSS4-HMAC-SHA256 Credential=ak/{day}/cn-hangzhou/oss/aliyun_v4_request,{extra}\
             Signature={signature}"
        );
        let own = [("x-oss-date", date), ("authorization", &authorization)];
        let headers = [&common[..], &own, more.as_slice()].concat();
        check(Scheme::Oss, "sk", (&Method::PUT, path), &headers);
    }
}

/// The example of "Add signatures to the header" in the documentation of OSS.
#[test]
fn oss_v1_signature_equals_published_example() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-md5", "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM="),
        ("content-type", "text/html"),
        ("date", "Thu, 17 Nov 2005 18:49:58 GMT"),
        ("x-oss-meta-author", "foo@bar.com"),
        ("x-oss-magic", "abracadabra"),
        ("authorization", "OSS 44CF9590006BF252F707:26NBxoKdsyly4EDv6inkoDft/yA="),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let uri = "/oss-example/nelson".parse().unwrap();
    let secret = "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV";
    let (given, right) = oss_v1_signatures(secret, &Method::PUT, &uri, &headers).unwrap();
    assert_eq!(given, right);
}
