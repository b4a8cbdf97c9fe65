/**
 * What the operator does with the running bridge (`openim xmpp …`), over the control socket.
 *
 * ```text
 *   status                         doors, accounts, sessions, streams to other servers
 *   passwords  {user?}             the app passwords of an account, by name
 *   passwd     {user?, name}       a new one: shown once
 *   revoke     {user?, name}       its sessions and tokens end with it
 *   invite     {name?}             makes an account once: `uri`, `expiresAtMs`
 *   export     {file}              what accounts keep, as XEP-0227 has it
 *   reports                        what people reported as spam or abuse
 *   accounts                       addresses at the domain, and on openIM
 *   doctor     {domain?}           what is wrong with our domain, or on the way to that one
 *   ca                             the authority of the house, and what it issued for our doors
 * ```
 *
 * `user` is the local part; the owner's when it is left out.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { BridgeControl } from '../../node/control/control-protocol.ts'
import type { DoctorCheck } from '../../node/status.ts'
import type { LoginAccount } from './auth/sasl.ts'
import type { HomeCa } from './certificates/home-ca.ts'
import { writePieces } from './export-file.ts'
import type { XmppBridge } from './xmpp-bridge.ts'

type Params = Readonly<Record<string, unknown>>

/** @param home where the node is its own authority */
export function controlOf(
  bridge: XmppBridge,
  { home, examine }: {
    readonly home?: HomeCa | undefined,
    readonly examine?: (other: string | undefined) => Promise<readonly DoctorCheck[]>,
  } = {},
): BridgeControl {
  const actions: Readonly<Record<string, (params: Params) => Promise<unknown>>> = {
    async status() {
      const { host, connector, gateway } = bridge
      return {
        domain: bridge.domain,
        owner: bridge.ownerAddress,
        listen: bridge.addresses(),
        accounts: (await host.accounts.list()).length,
        sessions: connector.sessionCount,
        servers: gateway?.streams ?? [],
        shield: bridge.shield?.describe() ?? [],
        queued: gateway?.queued ?? 0,
      }
    },
    async ca() {
      if (home !== undefined) return { authority: home.authority, certificate: home.server }
      throw new OpenIMError(
        'XMPP_CA_NONE', 'this node shows the certificate of xmpp.cert and has no authority of its own',
      )
    },
    async doctor(params) {
      return await examine?.(params['domain'] === undefined ? undefined : textOf(params, 'domain')) ?? []
    },
    async accounts() {
      const records = await bridge.host.accounts.list()
      const openIm = await bridge.openImAddresses()
      return records.map(({ id, local, createdAtMs }) =>
        ({ address: `${local}@${bridge.domain}`, openim: openIm.get(id), createdAtMs }))
    },
    async passwords(params) {
      return await bridge.connector.credentials.list((await accountOf(bridge, params)).id)
    },
    async passwd(params) {
      const account = await accountOf(bridge, params)
      const password = await bridge.connector.credentials.add(account, textOf(params, 'name'))
      return { address: `${account.local}@${bridge.domain}`, password }
    },
    async export(params) {
      return { bytes: await writePieces(textOf(params, 'file'), bridge.exported()) }
    },
    async reports() {
      return await bridge.reports.list()
    },
    async invite(params) {
      return await bridge.invites.create(params['name'] === undefined ? undefined : textOf(params, 'name'))
    },
    async revoke(params) {
      const account = await accountOf(bridge, params)
      const name = textOf(params, 'name')
      if (!await bridge.connector.credentials.revoke(account.id, name)) {
        const known = await bridge.connector.credentials.list(account.id)
        const names = known.map((one) => one.name).join(', ') || 'none'
        throw new OpenIMError(
          'XMPP_PASSWORD_UNKNOWN', `there is no app password "${name}"; there are: ${names}`,
        )
      }
      return { revoked: name }
    },
  }
  return {
    async call(action, params) {
      const run = Object.hasOwn(actions, action) ? actions[action] : undefined
      if (run === undefined) throw new OpenIMError('CONTROL_PARAMS', `bridge: there is no action "${action}"`)
      return await run(typeof params === 'object' && params !== null ? params as Params : {})
    },
  }
}

async function accountOf(bridge: XmppBridge, params: Params): Promise<LoginAccount> {
  const local = params['user'] === undefined ? bridge.ownerAddress.split('@')[0]! : textOf(params, 'user')
  const record = await bridge.host.accounts.record(local)
  if (record === undefined) {
    throw new OpenIMError(
      'XMPP_ACCOUNT_UNKNOWN', `there is no account ${local}@${bridge.domain} on this node`,
    )
  }
  return { id: record.id, local: record.local }
}

function textOf(params: Params, name: string): string {
  const value = params[name]
  if (typeof value === 'string' && value !== '') return value
  throw new OpenIMError('CONTROL_PARAMS', `bridge: ${name}: must be text`)
}
