//! One registry: its address, its client, and the tokens that it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use tokio::sync::Mutex;
use url::Url;

use super::body::RequestBody;
use super::challenge::{Challenge, challenge};
use super::error::{AccessPurpose, RegistryError, RegistryRefusal, digests, said};
use super::logins::{Logins, RegistryLogin};
use super::token::{self, AccessToken};
use crate::credentials::{Secret, redacted};
use crate::net::http::{Http, HttpError, RequestFailure, retry_after};
use crate::net::pace::Pace;
use crate::net::redirect::{self, RedirectError};
use crate::oci::ImageReference;

/// The times that the right of one request is renewed: requests beside it may have used up the one that was renewed for them.
const MOST_RENEWALS: usize = 3;
/// The bytes of a refusal that are read.
const LONGEST_REFUSAL: u64 = 64 << 10;
/// The time for an answer after the last byte was sent: registries hash a blob, and move it to its place, before they answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(600);

/// A registry.
pub(super) struct RegistryHost {
    pub http: Arc<Http>,
    pub client: Client,
    /// Its name in references.
    pub name: String,
    /// The root of its API: `https://HOST/v2/`.
    pub root: Url,
    pub logins: Arc<Logins>,
    pub access: Mutex<Access>,
}

/// The login that a registry was found to want, and the rights that it gave.
#[derive(Default)]
pub(super) struct Access {
    scheme: Scheme,
    /// By scopes, joined.
    tokens: BTreeMap<String, AccessToken>,
    /// By repository.
    logins: BTreeMap<String, Option<RegistryLogin>>,
}

#[derive(Default, Clone)]
enum Scheme {
    /// It has asked for nothing yet.
    #[default]
    Open,
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
    },
}

/// The right that a request comes with.
#[derive(Clone, PartialEq, Eq)]
enum Authorization {
    Nothing,
    Basic { user: String, password: Secret },
    Bearer(Secret),
}

/// A request, which can be sent several times.
pub(super) struct RegistryRequest<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: RequestBody,
    /// The repository that it is about.
    pub image: &'a ImageReference,
    pub purpose: AccessPurpose,
    /// Another repository of the registry, which is read for it.
    pub mounted: Option<&'a str>,
}

impl RegistryRequest<'_> {
    /// <https://distribution.github.io/distribution/spec/auth/scope/>
    fn scopes(&self) -> BTreeSet<String> {
        let actions = match self.purpose {
            AccessPurpose::Pull => "pull",
            AccessPurpose::Push => "pull,push",
        };
        let own = format!("repository:{}:{actions}", self.image.repository());
        let mounted = self.mounted.map(|repository| format!("repository:{repository}:pull"));
        [own].into_iter().chain(mounted).collect()
    }
}

impl RegistryHost {
    /// Sends a request with the right that it needs. A right that is refused is renewed. A status that may pass is a
    /// failure; every other one is an answer.
    pub(super) async fn exchange(&self, request: &RegistryRequest<'_>) -> Result<Response, RequestFailure> {
        if self.http.is_offline() {
            return Err(HttpError::Offline { url: redacted(&request.url) }.into());
        }
        let mut right = self.right(request).await?;
        let mut response = self.send(request, &right).await?;
        for _ in 0..MOST_RENEWALS {
            if response.status() != StatusCode::UNAUTHORIZED || !self.is_own(response.url()) {
                break;
            }
            let asked = challenge(response.headers());
            let Some(renewed) = self.renewed(asked, &right, request).await? else { break };
            right = renewed;
            response = self.send(request, &right).await?;
        }
        self.unless_passing(response, request, &right).await
    }

    /// The failure that an answer is.
    pub(super) async fn refusal(&self, response: Response, request: &RegistryRequest<'_>) -> RequestFailure {
        match self.refused(response, request, true).await {
            Ok(refusal) => RegistryError::Refused(Box::new(refusal)).into(),
            Err(failure) => failure,
        }
    }

    async fn unless_passing(
        &self,
        response: Response,
        request: &RegistryRequest<'_>,
        right: &Authorization,
    ) -> Result<Response, RequestFailure> {
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(response);
        }
        // Places elsewhere, to which a registry sends its clients, are good for some time only.
        let is_stale = !self.is_own(response.url()) && matches!(status.as_u16(), 401 | 403);
        let may_be_read = matches!(status.as_u16(), 401 | 403 | 408 | 429) || status.is_server_error();
        if !may_be_read {
            return Ok(response);
        }
        let refusal = self.refused(response, request, *right != Authorization::Nothing).await?;
        let (passes, after) = (is_stale || refusal.may_pass(), refusal.after);
        let error = RegistryError::Refused(Box::new(refusal));
        Err(if passes { RequestFailure::passing(error, after) } else { error.into() })
    }

    async fn refused(
        &self,
        response: Response,
        request: &RegistryRequest<'_>,
        logged_in: bool,
    ) -> Result<RegistryRefusal, RequestFailure> {
        let (status, after, url) =
            (response.status(), retry_after(response.headers()), response.url().clone());
        let body = self.http.body(&url, response, LONGEST_REFUSAL).await;
        // What a refusal says is no reason to be refused otherwise.
        let body = body.map(|(body, _)| body).unwrap_or_default();
        Ok(RegistryRefusal {
            registry: self.name.clone(),
            repository: request.image.repository().to_owned(),
            purpose: request.purpose,
            status,
            said: said(&body),
            digests: digests(&body),
            logged_in,
            after,
        })
    }

    /// Returns whether `url` is on the registry itself, and may be shown its rights.
    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.root.origin()
    }

    /// Sends a request, and once more to where an answer sends it on: the client by itself follows with no body that is a
    /// stream.
    async fn send(
        &self,
        request: &RegistryRequest<'_>,
        right: &Authorization,
    ) -> Result<Response, RequestFailure> {
        let mut asked = vec![request.url.clone()];
        loop {
            let url = asked.last().unwrap_or(&request.url);
            let response = self.send_to(url, request, right).await?;
            let is_moved = matches!(response.status().as_u16(), 307 | 308);
            let Some(next) = location(&response).filter(|_| is_moved) else { return Ok(response) };
            let refused = |source| HttpError::Redirect { url: redacted(&request.url), source };
            redirect::check(&asked, &next).map_err(refused)?;
            asked.push(next);
        }
    }

    async fn send_to(
        &self,
        url: &Url,
        request: &RegistryRequest<'_>,
        right: &Authorization,
    ) -> Result<Response, RequestFailure> {
        let builder = self.client.request(request.method.clone(), url.clone());
        let builder = builder.headers(request.headers.clone());
        let builder = match right {
            Authorization::Basic { user, password } if self.is_own(url) => {
                builder.basic_auth(user, Some(password.reveal()))
            }
            Authorization::Bearer(token) if self.is_own(url) => builder.bearer_auth(token.reveal()),
            _ => builder,
        };
        match &request.body {
            RequestBody::None => self.quick(url, builder).await,
            RequestBody::Bytes(bytes) => self.quick(url, builder.body(bytes.clone())).await,
            RequestBody::File(part) => {
                let sent = Arc::new(AtomicU64::new(0));
                let builder = builder.header(reqwest::header::CONTENT_LENGTH, part.size());
                let builder = builder.body(part.stream(Arc::clone(&sent)));
                self.watched(url, builder, &sent, part.size()).await
            }
        }
    }

    /// Sends what is small; its answer must come soon.
    async fn quick(&self, url: &Url, builder: RequestBuilder) -> Result<Response, RequestFailure> {
        let answer = tokio::time::timeout(self.http.stall(), builder.send()).await;
        answer.map_err(|_| self.http.stalled(url))?.map_err(|error| self.http.failure(url, error))
    }

    /// Sends a file, as long as bytes of it go out.
    async fn watched(
        &self,
        url: &Url,
        builder: RequestBuilder,
        sent: &AtomicU64,
        size: u64,
    ) -> Result<Response, RequestFailure> {
        let sending = builder.send();
        tokio::pin!(sending);
        let (interval, mut pace, mut seen) = (self.http.stall(), Pace::new(self.http.stall()), 0);
        let mut all_sent: Option<Instant> = None;
        loop {
            tokio::select! {
                answer = &mut sending => return answer.map_err(|error| self.http.failure(url, error)),
                () = tokio::time::sleep(interval) => {}
            }
            let now = sent.load(Ordering::Relaxed);
            let is_waiting =
                now == size && all_sent.get_or_insert_with(Instant::now).elapsed() < LONGEST_ANSWER;
            if !is_waiting && !pace.is_enough(interval, now - seen) {
                return Err(self.http.stalled(url));
            }
            seen = now;
        }
    }

    /// The right that a request is sent with at first.
    async fn right(&self, request: &RegistryRequest<'_>) -> Result<Authorization, RequestFailure> {
        let mut access = self.access.lock().await;
        match access.scheme.clone() {
            Scheme::Open => Ok(Authorization::Nothing),
            Scheme::Basic => Ok(basic(self.login(&mut access, request.image).await?)),
            Scheme::Bearer { realm, service } => {
                let scopes = request.scopes();
                if let Some(token) = access.tokens.get(&joined(&scopes)).filter(|token| token.is_good()) {
                    return Ok(Authorization::Bearer(token.value.clone()));
                }
                self.token(&mut access, &realm, service.as_deref(), &scopes, request).await
            }
        }
    }

    /// The right that a registry asks for, if it may be another than `refused`.
    async fn renewed(
        &self,
        asked: Option<Challenge>,
        refused: &Authorization,
        request: &RegistryRequest<'_>,
    ) -> Result<Option<Authorization>, RequestFailure> {
        let mut access = self.access.lock().await;
        match asked {
            None => Ok(None),
            Some(Challenge::Basic) => {
                access.scheme = Scheme::Basic;
                let right = basic(self.login(&mut access, request.image).await?);
                Ok(Some(right).filter(|right| right != refused && *right != Authorization::Nothing))
            }
            Some(Challenge::Bearer { realm, service, scopes }) => {
                let wanted = request.scopes();
                // Another request may have got one meanwhile.
                let there = access.tokens.get(&joined(&wanted)).filter(|token| token.is_good());
                let there = there.map(|token| Authorization::Bearer(token.value.clone()));
                if let Some(right) = there.filter(|right| right != refused) {
                    return Ok(Some(right));
                }
                access.scheme = Scheme::Bearer { realm: realm.clone(), service: service.clone() };
                let scopes = wanted.union(&scopes).cloned().collect();
                let right = self.token(&mut access, &realm, service.as_deref(), &scopes, request).await?;
                Ok(Some(right).filter(|right| right != refused))
            }
        }
    }

    /// A new token, which is kept for requests like this one.
    async fn token(
        &self,
        access: &mut Access,
        realm: &Url,
        service: Option<&str>,
        scopes: &BTreeSet<String>,
        request: &RegistryRequest<'_>,
    ) -> Result<Authorization, RequestFailure> {
        let login = self.login(access, request.image).await?;
        if let Some(RegistryLogin::Registry(token)) = login {
            return Ok(Authorization::Bearer(token));
        }
        if self.root.scheme() == "https" && realm.scheme() != "https" {
            let to = redacted(realm);
            let source = RedirectError::Downgrade { to };
            return Err(HttpError::Redirect { url: redacted(&self.root), source }.into());
        }
        let asked = token::request(realm, service, scopes, login.as_ref());
        let builder = match asked.form {
            Some(form) => self
                .client
                .post(asked.url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form),
            None => self.client.get(asked.url.clone()),
        };
        let builder = match asked.basic {
            Some((user, password)) => builder.basic_auth(user, Some(password.reveal())),
            None => builder,
        };
        let response = self.quick(realm, builder).await?;
        if !response.status().is_success() {
            let refusal = self.refused(response, request, login.is_some()).await?;
            let (passes, after) = (refusal.may_pass(), refusal.after);
            let error = RegistryError::Refused(Box::new(refusal));
            return Err(if passes { RequestFailure::passing(error, after) } else { error.into() });
        }
        let (body, _) = self.http.body(realm, response, token::LONGEST_REPLY).await?;
        let no_token = || HttpError::Status { url: redacted(realm), status: StatusCode::OK };
        let token = token::parse(&body).ok_or_else(no_token)?;
        access.tokens.insert(joined(&request.scopes()), token.clone());
        Ok(Authorization::Bearer(token.value))
    }

    /// The login for a repository, looked for once.
    async fn login(
        &self,
        access: &mut Access,
        image: &ImageReference,
    ) -> Result<Option<RegistryLogin>, RequestFailure> {
        if let Some(login) = access.logins.get(image.repository()) {
            return Ok(login.clone());
        }
        let (logins, reference) = (Arc::clone(&self.logins), image.clone());
        let found = tokio::task::spawn_blocking(move || logins.find(&reference)).await;
        let found = found.map_err(|error| HttpError::Runtime(std::io::Error::other(error)))?;
        let login = found.map_err(RegistryError::from)?;
        access.logins.insert(image.repository().to_owned(), login.clone());
        Ok(login)
    }
}

impl From<RegistryError> for RequestFailure {
    fn from(error: RegistryError) -> Self {
        HttpError::from(error).into()
    }
}

/// The place that an answer names, absolute or seen from itself.
pub(super) fn location(response: &Response) -> Option<Url> {
    let place = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(place).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

fn basic(login: Option<RegistryLogin>) -> Authorization {
    match login {
        Some(RegistryLogin::Password { user, password }) => Authorization::Basic { user, password },
        Some(RegistryLogin::Registry(token)) => Authorization::Bearer(token),
        Some(RegistryLogin::Identity(_)) | None => Authorization::Nothing,
    }
}

fn joined(scopes: &BTreeSet<String>) -> String {
    scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}
