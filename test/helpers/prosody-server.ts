/** A private Prosody from Debian's package for tests, with the modules that a home server runs. */
import { DatabaseProcess } from './database-process.ts'
import { needProgram } from './debian.ts'
import { XmppServer, writeFiles } from './xmpp-server.ts'
import type { PreparedServer, XmppGround, XmppServerOptions } from './xmpp-server.ts'

const program = await needProgram('prosody', ['prosody', 'lua-unbound'])
export const hasProsody = program !== undefined

export interface ProsodyOptions extends XmppServerOptions {
  /** XEP-0288, which Prosody leaves off by itself. */
  readonly isBidi?: boolean
}

export async function startProsody(ground: XmppGround, options: ProsodyOptions): Promise<XmppServer> {
  const prepared = { ...await ground.prepare(options), isBidi: options.isBidi ?? false }
  const process = await DatabaseProcess.start({
    name: `Prosody ${options.domain}`,
    program: program!,
    args: (folder) => ['--config', `${folder}/prosody.cfg.lua`, '-F'],
    ready: /openim: ready/,
    prepare: async (folder) => writeFiles(folder, filesOf(prepared, folder)),
    stopSignal: 'SIGTERM',
  })
  return ground.add(new XmppServer(prepared, process))
}

type Prepared = PreparedServer & { readonly isBidi: boolean }

function filesOf(prepared: Prepared, folder: string): Record<string, string> {
  const { domain, certificate, accounts = {} } = prepared
  const files: Record<string, string> = {
    'prosody.cfg.lua': configuration(prepared, folder),
    // Its own way to say that every listener stands: this module is loaded last, into the last host.
    'modules/mod_openim_ready.lua':
      'module:hook_global("server-started", function () print("openim: ready") end)\n',
    'ca.pem': prepared.caPem,
    [`certificates/${domain}.crt`]: certificate.fullChain,
    [`certificates/${domain}.key`]: certificate.key,
    'data/empty': '',
    'log': '',
  }
  const encoded = domain.replace(/[^a-z0-9]/g, (letter) => `%${letter.charCodeAt(0).toString(16)}`)
  for (const [local, password] of Object.entries(accounts)) {
    files[`data/${encoded}/accounts/${local}.dat`] = `return { ["password"] = "${password}" };\n`
  }
  return files
}

function configuration(prepared: Prepared, folder: string): string {
  const { domain, ports, dnsPort, needsCertificate = true, isQuiet = false, isBidi, extra = '' } = prepared
  const modules = [
    'disco', 'roster', 'saslauth', 'tls', 'blocklist', 'bookmarks', 'carbons', 'dialback', 'pep', 'private',
    'smacks', 'vcard4', 'vcard_legacy', 'csi_simple', 'ping', 'register', 'version', 'mam', 'offline',
    'websocket', 'server_contact_info', 'openim_ready', ...isBidi ? ['s2s_bidi'] : [],
  ]
  return `
    run_as_root = true
    data_path = "${folder}/data"
    plugin_paths = { "${folder}/modules" }
    certificates = "${folder}/certificates"
    pidfile = "${folder}/data/pid"
    log = { { levels = { min = "${isQuiet ? 'error' : 'debug'}" }, to = "file", filename = "${folder}/log" } }
    interfaces = { "127.0.0.1" }
    local_interfaces = { "127.0.0.1" }
    http_interfaces = { "127.0.0.1" }
    https_interfaces = { "127.0.0.1" }
    c2s_ports = { ${ports.c2s} }
    c2s_direct_tls_ports = { ${ports.c2sTls} }
    s2s_ports = { ${ports.s2s} }
    s2s_direct_tls_ports = { ${ports.s2sTls} }
    http_ports = { ${ports.http} }
    https_ports = {}
    use_ipv6 = false
    ssl = { cafile = "${folder}/ca.pem" }
    c2s_require_encryption = true
    s2s_require_encryption = true
    s2s_secure_auth = ${needsCertificate}
    authentication = "internal_hashed"
    storage = "internal"
    allow_registration = true
    archive_expires_after = "1w"
    default_archive_policy = ${prepared.hasArchive ?? true}
    unbound = {
      resolvconf = false, hoststxt = false, forward = "127.0.0.1@${dnsPort}",
      options = { ["do-not-query-localhost:"] = "no", ["local-zone:"] = "test. transparent" },
    }
    modules_enabled = { ${modules.map((name) => `"${name}"`).join(', ')} }
    ${extra}
    VirtualHost "${domain}"
    Component "conference.${domain}" "muc"
      modules_enabled = { "muc_mam" }
  `
}
