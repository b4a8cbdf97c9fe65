/**
 * A private ejabberd from Debian's package for tests. Run by `erl` itself, not by its control script:
 * no node name, no port mapper, no other user.
 */
import { readdirSync } from 'node:fs'
import { DatabaseProcess } from './database-process.ts'
import { findProgram, needProgram } from './debian.ts'
import { XmppServer, writeFiles } from './xmpp-server.ts'
import type { PreparedServer, XmppGround, XmppServerOptions } from './xmpp-server.ts'

const script = await needProgram('ejabberdctl', ['ejabberd'])
const erl = findProgram('erl')
export const hasEjabberd = script !== undefined && erl !== undefined

export async function startEjabberd(ground: XmppGround, options: XmppServerOptions): Promise<XmppServer> {
  const prepared = await ground.prepare(options)
  const process = await DatabaseProcess.start({
    name: `ejabberd ${options.domain}`,
    program: 'sh',
    // Its environment names its folder, which nobody knows before.
    args: (folder) => ['-c', 'cd "$1" && . ./environment && shift && exec "$@"', 'sh', folder,
      erl!, '-noshell', '-noinput', '+K', 'true', '-mnesia', 'dir', `"${folder}/data"`, '-s', 'ejabberd',
      '-eval', registration(prepared)],
    ready: /openim: ready/,
    prepare: async (folder) => writeFiles(folder, filesOf(prepared, folder)),
    stopSignal: 'SIGTERM',
  })
  return ground.add(new XmppServer(prepared, process))
}

/** Accounts are made when it stands; then it says so. */
function registration({ domain, accounts = {} }: PreparedServer): string {
  const calls = Object.entries(accounts).map(([local, password]) =>
    `ejabberd_auth:try_register(<<"${local}">>, <<"${domain}">>, <<"${password}">>), `)
  return `${calls.join('')}io:format("openim: ready~n").`
}

function filesOf(prepared: PreparedServer, folder: string): Record<string, string> {
  const { certificate } = prepared
  return {
    'ejabberd.yml': configuration(prepared, folder),
    'inetrc': [
      '{lookup, [file, dns]}.', `{resolv_conf, "${folder}/empty"}.`, '{hosts_file, "/dev/null"}.',
      '{host, {127,0,0,1}, ["localhost"]}.', `{nameserver, {127,0,0,1}, ${prepared.dnsPort}}.`, '',
    ].join('\n'),
    'environment': [
      `export HOME=${folder} ERL_LIBS=${libraries()} EJABBERD_CONFIG_PATH=${folder}/ejabberd.yml`,
      `export EJABBERD_LOG_PATH=${folder}/log ERL_INETRC=${folder}/inetrc ERL_CRASH_DUMP=/dev/null`, '',
    ].join('\n'),
    'empty': '',
    'log': '',
    'data/empty': '',
    'ca.pem': prepared.caPem,
    'certificate.pem': certificate.fullChain + certificate.key,
  }
}

/** Debian keeps Erlang's libraries in the folder of the architecture. */
function libraries(): string {
  const parent = '/usr/lib'
  const folders = readdirSync(parent).map((name) => `${parent}/${name}`)
    .filter((folder) => /-linux-gnu\w*$/.test(folder))
  return folders.find((folder) => readdirSync(folder).some((name) => name.startsWith('ejabberd-'))) ?? parent
}

function configuration(prepared: PreparedServer, folder: string): string {
  const { domain, ports, extra = '' } = prepared
  const needsCertificate = prepared.needsCertificate ?? true
  return `
hosts: ["${domain}"]
loglevel: ${prepared.isQuiet === true ? 'error' : 'debug'}
certfiles: ["${folder}/certificate.pem"]
ca_file: "${folder}/ca.pem"
s2s_cafile: "${folder}/ca.pem"
s2s_use_starttls: required
s2s_dns_timeout: 2 s
s2s_max_retry_delay: 1 s
outgoing_s2s_families: [ipv4]
auth_password_format: scram
registration_timeout: infinity
shaper_rules:
  max_user_sessions: 100
access_rules:
  local: {allow: local}
  c2s: {allow: all}
  register: {allow: all}
  muc_create: {allow: all}
acl:
  local: {user_regexp: ""}
listen:
  - {port: ${ports.c2s}, ip: "127.0.0.1", module: ejabberd_c2s, starttls_required: true}
  - {port: ${ports.c2sTls}, ip: "127.0.0.1", module: ejabberd_c2s, tls: true}
  - {port: ${ports.s2s}, ip: "127.0.0.1", module: ejabberd_s2s_in, max_stanza_size: 524288}
  - {port: ${ports.s2sTls}, ip: "127.0.0.1", module: ejabberd_s2s_in, tls: true, max_stanza_size: 524288}
  - {port: ${ports.http}, ip: "127.0.0.1", module: ejabberd_http, request_handlers: {/ws: ejabberd_http_ws}}
modules:
  mod_adhoc: {}
  mod_blocking: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_client_state: {}
  mod_disco: {}
  mod_last: {}
  mod_mam: {assume_mam_usage: true, default: ${prepared.hasArchive === false ? 'never' : 'always'}}
  mod_muc: {access: [{allow: all}], default_room_options: {persistent: false}}
  mod_offline: {}
  mod_ping: {}
  mod_privacy: {}
  mod_private: {}
  mod_pubsub: {access_createnode: local, plugins: [flat, pep]}
  mod_register: {ip_access: all}
  mod_roster: {versioning: true}
${needsCertificate ? '' : '  mod_s2s_dialback: {}'}
  mod_stream_mgmt: {resend_on_timeout: if_offline}
  mod_vcard: {}
  mod_version: {}
${extra}`
}
