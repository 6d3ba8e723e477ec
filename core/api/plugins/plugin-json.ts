import type { Privilege } from '../../plugin/plugin-privileges.js';
import type { Plugin, PluginDocuments, PluginLife } from '../../plugin/plugins.js';
import type { PrivilegeJson } from './schema.js';

/** `State` is this engine's own: Docker tells of a plugin's process nowhere. */
export function pluginJson(plugin: Plugin, documents: PluginDocuments, life: PluginLife): object {
  return {
    Id: plugin.id,
    Name: plugin.name,
    Enabled: plugin.enabled,
    PluginReference: plugin.reference === '' ? plugin.name : plugin.reference,
    Settings: { Args: plugin.settings.args, Devices: documents.devices, Env: plugin.settings.env, Mounts: documents.mounts },
    Config: documents.config,
    State: { Status: life.state, Pid: life.pid, RestartCount: life.restarts, Error: life.lastError },
  };
}

export const privilegeJson = ({ name, description, value }: Privilege): object => ({ Name: name, Description: description, Value: value });

export const privilegeOf = (given: PrivilegeJson): Privilege => ({
  name: given.Name ?? '',
  description: given.Description ?? '',
  value: given.Value ?? [],
});
