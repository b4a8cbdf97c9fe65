/**
 * What a client that is logged in asks for, and what it looks for in what comes: shared by the tests
 * of the XMPP server.
 */
import { xml } from './xmpp-client.ts'
import type { LoggedIn, LtxElement } from './xmpp-client.ts'

/** The answer to a request; without `to` on behalf of the account. */
export async function ask(
  session: LoggedIn, type: 'get' | 'set', payload: LtxElement, to?: string,
): Promise<LtxElement> {
  return await session.client.iqCaller.request(
    xml('iq', { type, ...to === undefined ? {} : { to } }, payload),
  )
}

/** The condition that a request is refused with; `none`: it is not. */
export async function refusal(asking: Promise<unknown>): Promise<string> {
  return await asking.then(() => 'none', (error: { condition: string }) => error.condition)
}

export function isPresence(from: string, type?: string): (stanza: LtxElement) => boolean {
  return ({ name, attrs }) =>
    name === 'presence' && attrs['from']?.startsWith(from) === true && attrs['type'] === type
}

export function hasBody(text: string): (stanza: LtxElement) => boolean {
  return (stanza) => stanza.getChildText('body') === text
}

/** Everything that was sent to this client before is there when it settles. */
export async function settled(session: LoggedIn): Promise<void> {
  await ask(session, 'get', xml('ping', { xmlns: 'urn:xmpp:ping' }))
}

export async function roster(session: LoggedIn): Promise<LtxElement[]> {
  const answer = await ask(session, 'get', xml('query', { xmlns: 'jabber:iq:roster' }))
  return answer.getChild('query')!.getChildren('item')
}

/** Both see each other. */
export async function befriend(
  alice: LoggedIn, bob: LoggedIn, [a, b]: readonly [string, string],
): Promise<void> {
  for (const session of [alice, bob]) await roster(session)
  await alice.client.send(xml('presence', { to: b, type: 'subscribe' }))
  await bob.find(isPresence(a, 'subscribe'))
  await bob.client.send(xml('presence', { to: a, type: 'subscribed' }))
  await bob.client.send(xml('presence', { to: a, type: 'subscribe' }))
  await alice.find(isPresence(b, 'subscribe'))
  await alice.client.send(xml('presence', { to: b, type: 'subscribed' }))
  await Promise.all([alice.find(isPresence(`${b}/`)), bob.find(isPresence(`${a}/`))])
}
