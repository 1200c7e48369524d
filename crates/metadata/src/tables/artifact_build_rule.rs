//! Rows of `build_rule`: which repositories get which artifacts built.

use berth_types::Millis;

use crate::{DbError, Row, Session, args};

pub const STATEMENTS: &[&str] = &[INSERT, FIND, FIND_BY_SCOPE, DELETE_BY_SCOPE];

const INSERT: &str = "INSERT INTO build_rule (rule_id, instance_id, artifact_type, scope_type, \
    scope_id, parameters, created_at, modified_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const FIND: &str = "SELECT * FROM build_rule WHERE instance_id = $1 AND rule_id = $2";
const FIND_BY_SCOPE: &str = "SELECT * FROM build_rule \
    WHERE scope_type = $1 AND scope_id = $2 AND artifact_type = $3";
const DELETE_BY_SCOPE: &str = "DELETE FROM build_rule WHERE scope_type = $1 AND scope_id = $2";

/// A build rule as stored; `parameters` is the JSON of ACR's `Parameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRule {
    pub rule_id: String,
    pub instance_id: String,
    pub artifact_type: String,
    pub scope_type: String,
    pub scope_id: String,
    pub parameters: String,
    pub created_at: Millis,
    pub modified_at: Millis,
}

/// Inserts a rule.
///
/// # Errors
/// A conflict when the scope already has a rule of this artifact type.
pub async fn insert(session: &mut Session, rule: &BuildRule) -> Result<(), DbError> {
    let values = args![
        &rule.rule_id,
        &rule.instance_id,
        &rule.artifact_type,
        &rule.scope_type,
        &rule.scope_id,
        &rule.parameters,
        rule.created_at,
        rule.modified_at
    ];
    session.execute(INSERT, values).await.map(drop)
}

/// The rule of this id in this instance.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn find(
    session: &mut Session,
    instance_id: &str,
    rule_id: &str,
) -> Result<Option<BuildRule>, DbError> {
    let row = session.fetch_optional(FIND, args![instance_id, rule_id]).await?;
    row.map(|row| read(&row)).transpose()
}

/// The rule that a scope has for an artifact type.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn find_by_scope(
    session: &mut Session,
    scope_type: &str,
    scope_id: &str,
    artifact_type: &str,
) -> Result<Option<BuildRule>, DbError> {
    let values = args![scope_type, scope_id, artifact_type];
    let row = session.fetch_optional(FIND_BY_SCOPE, values).await?;
    row.map(|row| read(&row)).transpose()
}

/// Deletes every rule of a scope that is going away.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn delete_by_scope(
    session: &mut Session,
    scope_type: &str,
    scope_id: &str,
) -> Result<u64, DbError> {
    session.execute(DELETE_BY_SCOPE, args![scope_type, scope_id]).await
}

fn read(row: &Row) -> Result<BuildRule, DbError> {
    Ok(BuildRule {
        rule_id: row.text("rule_id")?,
        instance_id: row.text("instance_id")?,
        artifact_type: row.text("artifact_type")?,
        scope_type: row.text("scope_type")?,
        scope_id: row.text("scope_id")?,
        parameters: row.text("parameters")?,
        created_at: row.int("created_at")?,
        modified_at: row.int("modified_at")?,
    })
}
