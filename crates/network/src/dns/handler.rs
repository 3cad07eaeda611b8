//! One question in, one answer out.

use std::{
    net::IpAddr,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_server::{
    net::{runtime::Time, xfer::Protocol},
    proto::{
        op::{Message, Metadata, OpCode, Query, ResponseCode},
        rr::{
            Name, RData, Record, RecordType,
            rdata::{CNAME, NS, PTR, SOA, SRV, TXT},
        },
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use tracing::debug;

use super::{
    forward::Forwarder,
    zone::{Answer, Data, Kind, SharedZone},
};

/// Seconds that an answer may be kept, the default of CoreDNS for Kubernetes: endpoints of headless Services come and go.
const TTL: u32 = 5;
/// Aliases of aliases that are followed.
const MAX_ALIASES: usize = 8;

pub(super) struct Handler {
    pub(super) zone: SharedZone,
    pub(super) forwarder: Arc<Forwarder>,
}

/// The sections of an answer.
#[derive(Default)]
struct Response {
    code: Option<ResponseCode>,
    authoritative: bool,
    truncated: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Response {
    fn failure(code: ResponseCode) -> Self {
        Self { code: Some(code), ..Self::default() }
    }

    fn forwarded(message: Message) -> Self {
        Self {
            code: Some(message.metadata.response_code),
            authoritative: false,
            truncated: message.metadata.truncation,
            answers: message.answers,
            authorities: message.authorities,
            additionals: message.additionals,
        }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut handle: R) -> ResponseInfo {
        let response = self.answer(request).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = response.code.unwrap_or(ResponseCode::NoError);
        metadata.authoritative = response.authoritative;
        metadata.recursion_available = true;
        metadata.truncation = response.truncated;
        let builder = MessageResponseBuilder::new(&request.queries, request.edns.as_ref());
        let Response { answers, authorities, additionals, .. } = &response;
        let message = builder.build(metadata, answers, authorities, [], additionals);
        match handle.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                debug!(%error, "a DNS answer could not be sent");
                ResponseInfo::from(hickory_server::proto::op::Header { metadata, counts: Default::default() })
            }
        }
    }
}

impl Handler {
    async fn answer(&self, request: &Request) -> Response {
        if request.metadata.op_code != OpCode::Query {
            return Response::failure(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return Response::failure(ResponseCode::FormErr) };
        let query = info.query.original();
        // Nobody asks for an address of ours in another letter case by accident, but resolvers do to make forgery harder.
        let name = query.name().to_ascii().to_ascii_lowercase();
        let name = name.trim_end_matches('.');
        let tcp = request.protocol() == Protocol::Tcp;
        match self.lookup(name, query.query_type()) {
            Answer::NotOurs => match self.forwarder.ask(request.as_slice(), tcp).await {
                Ok(message) => Response::forwarded(message),
                Err(error) => {
                    debug!(%name, %error, "the host's resolvers don't answer");
                    Response::failure(ResponseCode::ServFail)
                }
            },
            Answer::Alias(target) => self.follow(query, target, tcp).await,
            answer => self.respond(query.name(), answer),
        }
    }

    fn lookup(&self, name: &str, kind: RecordType) -> Answer {
        let kind = match kind {
            RecordType::A => Kind::Ipv4,
            RecordType::AAAA => Kind::Ipv6,
            RecordType::SRV => Kind::Srv,
            RecordType::PTR => Kind::Pointer,
            RecordType::TXT => Kind::Text,
            RecordType::NS => Kind::NameServer,
            _ => Kind::Other,
        };
        match self.zone.read() {
            Ok(zone) => zone.lookup(name, kind),
            Err(_) => Answer::NotReady,
        }
    }

    /// An answer from the zone itself.
    fn respond(&self, name: &Name, answer: Answer) -> Response {
        let (code, records) = match answer {
            Answer::Records(records) => (ResponseCode::NoError, records),
            Answer::NoSuchName => (ResponseCode::NXDomain, Vec::new()),
            Answer::NotOurs | Answer::NotReady | Answer::Alias(_) => return Response::failure(ResponseCode::ServFail),
        };
        let additionals = self.addresses_of_targets(&records);
        let mut answers: Vec<_> = records.into_iter().filter_map(|data| record(name, data)).collect();
        rotate(&mut answers);
        // How long it may be remembered that there is nothing.
        let authorities = if answers.is_empty() { self.start_of_authority().into_iter().collect() } else { Vec::new() };
        Response { code: Some(code), authoritative: true, truncated: false, answers, authorities, additionals }
    }

    /// An alias with all that it leads to: stub resolvers do not ask again.
    async fn follow(&self, query: &Query, mut target: String, tcp: bool) -> Response {
        let mut response = Response { authoritative: true, ..Response::default() };
        let mut owner = query.name().clone();
        for _ in 0..MAX_ALIASES {
            let Some(name) = name(&target) else { return Response::failure(ResponseCode::ServFail) };
            response.answers.push(Record::from_rdata(owner, TTL, RData::CNAME(CNAME(name.clone()))));
            if query.query_type() == RecordType::CNAME {
                return response;
            }
            match self.lookup(&target, query.query_type()) {
                Answer::Alias(next) => (owner, target) = (name, next),
                Answer::NotOurs => {
                    let mut question = Message::query();
                    question.add_query(Query::query(name, query.query_type()));
                    question.metadata.recursion_desired = true;
                    let Ok(bytes) = question.to_vec() else { return Response::failure(ResponseCode::ServFail) };
                    match self.forwarder.ask(&bytes, tcp).await {
                        Ok(message) => {
                            response.code = Some(message.metadata.response_code);
                            response.truncated = message.metadata.truncation;
                            response.answers.extend(message.answers);
                        }
                        Err(error) => {
                            debug!(%target, %error, "the host's resolvers don't answer");
                            response.code = Some(ResponseCode::ServFail);
                        }
                    }
                    return response;
                }
                answer => {
                    let rest = self.respond(&name, answer);
                    response.code = rest.code;
                    response.answers.extend(rest.answers);
                    return response;
                }
            }
        }
        Response::failure(ResponseCode::ServFail)
    }

    /// Addresses of the names that SRV records lead to, so that nobody has to ask for them.
    fn addresses_of_targets(&self, records: &[Data]) -> Vec<Record> {
        let targets = records.iter().filter_map(|data| match data {
            Data::Srv { target, .. } => Some(target),
            _ => None,
        });
        let addresses = targets.filter_map(|target| Some((name(target)?, self.lookup(target, RecordType::A))));
        let records = addresses.flat_map(|(name, answer)| match answer {
            Answer::Records(records) => records.into_iter().filter_map(|data| record(&name, data)).collect(),
            _ => Vec::new(),
        });
        records.collect()
    }

    fn start_of_authority(&self) -> Option<Record> {
        let domain = self.zone.read().ok()?.domain().to_owned();
        let (server, person) = (name(&format!("ns.dns.{domain}"))?, name(&format!("hostmaster.{domain}"))?);
        let soa = SOA::new(server, person, 1, 7200, 1800, 86_400, TTL);
        Some(Record::from_rdata(name(&domain)?, TTL, RData::SOA(soa)))
    }
}

fn name(text: &str) -> Option<Name> {
    Name::from_str(&format!("{text}.")).ok()
}

fn record(owner: &Name, data: Data) -> Option<Record> {
    let data = match data {
        Data::Address(IpAddr::V4(address)) => RData::A(address.into()),
        Data::Address(IpAddr::V6(address)) => RData::AAAA(address.into()),
        // All alike: any of them will do.
        Data::Srv { port, target } => RData::SRV(SRV::new(0, 100, port, name(&target)?)),
        Data::Pointer(target) => RData::PTR(PTR(name(&target)?)),
        Data::Text(text) => RData::TXT(TXT::new(vec![text])),
        Data::NameServer(server) => RData::NS(NS(name(&server)?)),
    };
    Some(Record::from_rdata(owner.clone(), TTL, data))
}

/// Another record first each time: many clients take the first.
fn rotate(records: &mut [Record]) {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    if records.len() > 1 {
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % records.len();
        records.rotate_left(turn);
    }
}
