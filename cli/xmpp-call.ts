/** An action of the XMPP bridge of the running node. */
import type { CommandContext } from './context.ts'
import { option, withNode } from './context.ts'

/** @throws BRIDGE_OFF, XMPP_*, NODE_NOT_RUNNING */
export async function callXmpp<T>(
  context: CommandContext,
  action: string,
  params: Readonly<Record<string, string>>,
): Promise<T> {
  const user = option(context, 'user')
  const given = user === undefined ? params : { ...params, user }
  return await withNode(
    context, (node) => node.call('bridge', { bridge: 'xmpp', action, params: given }),
  ) as T
}

/** What `ca` answers. */
export interface XmppCa {
  readonly authority: XmppCertificate
  readonly certificate: XmppCertificate
}

interface XmppCertificate {
  readonly pem: string
  /** SHA-256, `AB:CD:…`. */
  readonly fingerprint: string
  readonly untilMs: number
}
