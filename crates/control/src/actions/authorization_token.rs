//! Temporary docker credentials: `GetAuthorizationToken`.

use std::time::Duration;

use async_trait::async_trait;
use berth_auth::TEMP_USERNAME;

use crate::codes;
use crate::control::Control;
use crate::error::ApiError;
use crate::operation::{Action, Call};
use crate::schema::{request, response};

request! { GetAuthorizationToken {
    /// How long the credentials hold, 1 to 24 hours; 1 when left out.
    expires_in_hours: Option<i64> = Acr "ExpiresInHours",
    /// The instance whose registry they are for.
    _instance_id: String = Acr "InstanceId",
} }

response! { AuthorizationTokenAnswer {
    /// The password.
    authorization_token: String = Acr "AuthorizationToken",
    /// When it ends, milliseconds since the epoch.
    expire_time: i64 = Acr "ExpireTime",
    /// The user name that goes with it.
    temp_username: &'static str = Acr "TempUsername",
} }

#[async_trait]
impl Action for GetAuthorizationToken {
    type Response = AuthorizationTokenAnswer;

    async fn run(
        self,
        control: &Control,
        call: &Call,
    ) -> Result<AuthorizationTokenAnswer, ApiError> {
        let hours = self.expires_in_hours.unwrap_or(1);
        let hours = u64::try_from(hours).ok().filter(|hours| (1..=24).contains(hours));
        let hours =
            hours.ok_or_else(|| ApiError::invalid("ExpiresInHours", "it must be 1 to 24"))?;
        let time_to_live = Duration::from_secs(hours * 3600);
        let issued =
            control.auth().issue_temp_password(&call.credential, call.instance_id()?, time_to_live);
        let (authorization_token, expire_time) =
            issued.ok_or_else(|| ApiError::plain(codes::NO_PRIVILEGE))?;
        Ok(AuthorizationTokenAnswer {
            authorization_token,
            expire_time,
            temp_username: TEMP_USERNAME,
        })
    }
}
