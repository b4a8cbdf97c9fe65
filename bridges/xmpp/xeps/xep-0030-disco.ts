/**
 * Service Discovery (XEP-0030 2.5) of the server and of its accounts. What is listed is what
 * registered in the table of requests (host/iq-table.ts), so that nothing is offered that is not there.
 */
import type { Identity } from '../host/iq-table.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import type { IqRequest } from '../ports.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

export interface DiscoParts {
  /** Data forms of the server: contact addresses (XEP-0157), limits. */
  readonly forms: () => readonly XmlElement[]
  /** Items of an account's node tree: its personal nodes (XEP-0163). */
  readonly accountItems: (request: IqRequest) => Promise<readonly XmlElement[]>
  /** A node below the server or an account; `undefined`: unknown. */
  readonly node?: (request: IqRequest, node: string) => Promise<XmlElement | undefined>
  /** Items of a node below the server; `undefined`: unknown. */
  readonly nodeItems?: (request: IqRequest, node: string) => Promise<readonly XmlElement[] | undefined>
}

const serverIdentities: readonly Identity[] = [{ category: 'server', type: 'im', name: 'openIM' }]
const accountIdentities: readonly Identity[] = [
  { category: 'account', type: 'registered' }, { category: 'pubsub', type: 'pep' },
]

export function serveDisco(host: XmppHost, parts: DiscoParts): void {
  const { context: { iq } } = host
  for (const target of ['server', 'account'] as const) {
    iq.addFeatures(target, ns.discoInfo, ns.discoItems)
    iq.add({
      target, ns: ns.discoInfo, name: 'query', type: 'get',
      async handle(request) {
        const { node } = request.payload.attrs
        if (node !== undefined && !(target === 'server' && node.startsWith(capsNode))) {
          const answer = await parts.node?.(request, node)
          if (answer === undefined) throw new StanzaError('item-not-found', 'there is no such node')
          return answer
        }
        if (target === 'account') await assertVisible(host, request)
        const info = serverInfo(host, target, target === 'server' ? parts.forms() : [])
        return info.withAttrs({ node })
      },
    })
  }
  iq.add({
    target: 'server', ns: ns.discoItems, name: 'query', type: 'get',
    async handle(request) {
      const { node } = request.payload.attrs
      const items = node === undefined
        ? host.domains().slice(1).map((jid) => el(ns.discoItems, 'item', { jid }))
        : await parts.nodeItems?.(request, node)
      if (items === undefined) throw new StanzaError('item-not-found', 'there is no such node')
      return el(ns.discoItems, 'query', { node }, ...items)
    },
  })
  iq.add({
    target: 'account', ns: ns.discoItems, name: 'query', type: 'get',
    async handle(request) {
      await assertVisible(host, request)
      const { node } = request.payload.attrs
      const items = node === undefined ? await parts.accountItems(request) : []
      return el(ns.discoItems, 'query', { node }, ...items)
    },
  })
}

/** The node under which the server announces its own capabilities (XEP-0115 §4.3). */
export const capsNode = 'https://openim.invalid/server'

export function serverInfo(
  { context: { iq } }: XmppHost,
  target: 'server' | 'account',
  forms: readonly XmlElement[],
): XmlElement {
  const identities = target === 'server' ? serverIdentities : accountIdentities
  return el(ns.discoInfo, 'query', {},
    ...identities.map(({ category, type, name }) => el(ns.discoInfo, 'identity', { category, type, name })),
    ...iq.features(target).map((feature) => el(ns.discoInfo, 'feature', { var: feature })),
    ...forms)
}

/** Strangers do not learn whether an account exists (XEP-0030 §8). */
async function assertVisible({ context }: XmppHost, { from, to }: IqRequest): Promise<void> {
  const account = await context.account(to)
  const isVisible = account !== undefined
    && (from.bare === account.jid.bare || account.roster.state(from).from)
  if (!isVisible) throw new StanzaError('service-unavailable')
}
