//! The layer of the users that the recipe makes.

use super::layer::{AccountsLayer, stack_key};
use super::{LayerCompression, PlanRequest};
use crate::bootstrap::users::NewAccount;
use crate::recipe::{AccountName, ContainerPath, UserAccount};

/// The layer above the base's; `None` where the recipe makes no user.
pub(super) fn layer(request: &PlanRequest<'_>) -> Option<AccountsLayer> {
    let recipe = &request.inputs.recipe;
    (!recipe.users.is_empty()).then(|| AccountsLayer {
        users: recipe.users.iter().map(|user| new_account(user)).collect(),
        mtime: request.created,
        below: stack_key(&request.base.layers),
        compression: LayerCompression::of(&recipe.layers),
    })
}

fn new_account(user: &UserAccount) -> NewAccount {
    let path = |path: &Option<ContainerPath>, default: String| {
        path.as_ref().map_or(default, |path| path.as_str().to_owned())
    };
    let name = user.name.to_string();
    NewAccount {
        uid: user.uid.into(),
        gid: user.group().into(),
        may_share_group: user.gid.is_some(),
        groups: user.groups.iter().map(AccountName::to_string).collect(),
        home: path(&user.home, format!("/home/{name}")),
        shell: path(&user.shell, "/bin/sh".to_owned()),
        system: user.system,
        name,
    }
}
