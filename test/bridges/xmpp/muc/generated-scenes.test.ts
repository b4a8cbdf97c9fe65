/**
 * Generated lives of a room beside a naive twin that knows who is in it and under which nick: each
 * occupant's picture, made of nothing but the presence they are sent, is the twin's after every step.
 */
import * as assert from 'uvu/assert'
import { mucNs } from '../../../../bridges/xmpp/muc/names.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../../helpers/harness.ts'
import { bodies, itemOf, roomJid, RoomPlay } from '../../../helpers/room-play.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'

const test = suite('bridges/xmpp/muc/generated-scenes', { timeoutMs: 60_000 })
const steps = 300
const people = ['ann', 'bob', 'cat', 'dan', 'eve'].map((local) => `${local}@a.test/1`)
const nicks = ['Red', 'red', 'Blue', 'Green', 'Ｇreen', 'Black']

/** Nick by person; nicks that differ in case or width are one. */
class Twin {
  readonly in = new Map<string, string>()
  readonly banned = new Set<string>()

  holder(nick: string): string | undefined {
    const same = (one: string): string => one.normalize('NFKC').toLowerCase()
    return [...this.in].find(([, held]) => same(held) === same(nick))?.[0]
  }

  move(who: string, nick: string): void {
    const holder = this.holder(nick)
    if (this.banned.has(who) || holder !== undefined && holder !== who) return
    this.in.set(who, nick.normalize('NFKC'))
  }
}

/** What an occupant believes from what came: nicks, and the role of each. */
function look(play: RoomPlay, pictures: Map<string, Set<string>>): void {
  for (const stanza of play.taken()) {
    const { to = '', from = '', type } = stanza.attrs
    if (stanza.name !== 'presence' || type === 'error') continue
    const picture = pictures.get(to) ?? new Set()
    pictures.set(to, picture)
    const nick = from.slice(roomJid.length + 1)
    const isSelf = stanza.child('x', mucNs.user)!.elements('status').some(({ attrs }) => attrs.code === '110')
    if (type === undefined) picture.add(nick)
    else picture.delete(nick)
    // Out of the room, unless it is a new nick.
    if (type === 'unavailable' && isSelf && itemOf(stanza).nick === undefined) picture.clear()
  }
}

for (let seed = 0; seed < 8; seed++) {
  test(`shows everybody who is in the room, whatever happens (seed ${seed})`, async () => {
    const random = seededRandom(`room ${seed}`)
    const draw = (count: number): number => random.bytes(1)[0]! % count
    const play = await RoomPlay.open()
    const [owner = ''] = people
    const twin = new Twin()
    const pictures = new Map<string, Set<string>>()
    await play.join(owner, 'Red')
    await play.ask(owner, 'set', el(mucNs.owner, 'query', {}, el(ns.dataForm, 'x', { type: 'submit' })))
    twin.in.set(owner, 'Red')
    pictures.set(owner, new Set(['Red']))
    for (let step = 0; step < steps; step++) {
      const who = people[draw(people.length)]!
      const other = people[1 + draw(people.length - 1)]!
      const nick = nicks[draw(nicks.length)]!
      const done = draw(8)
      if (done < 4) {
        const to = `${roomJid}/${nick}`
        await play.send(el(ns.client, 'presence', { from: who, to }, el(mucNs.muc, 'x')))
        twin.move(who, nick)
      } else if (done === 4 && who !== owner) {
        await play.leave(who, twin.in.get(who) ?? nick)
        twin.in.delete(who)
      } else if (done === 5 && twin.in.has(other)) {
        await play.admin({ nick: twin.in.get(other)!, role: 'none' }, owner)
        twin.in.delete(other)
      } else if (done === 6 && draw(2) === 0) {
        await play.admin({ jid: other.split('/')[0]!, affiliation: 'outcast' }, owner)
        twin.in.delete(other)
        twin.banned.add(other)
      } else if (done === 6) {
        await play.admin({ jid: other.split('/')[0]!, affiliation: 'none' }, owner)
        twin.banned.delete(other)
      }
      look(play, pictures)
      for (const person of people) {
        const seen = [...pictures.get(person) ?? []].sort()
        const expected = twin.in.has(person) ? [...twin.in.values()].sort() : []
        assert.equal(seen, expected, `${person} after step ${step}`)
      }
    }
    await play.say(owner, 'who is there?')
    const heard = people.filter((person) => bodies(play.taken(person)).length === 1)
    assert.equal(heard.sort(), [...twin.in.keys()].sort())
  })
}

test.run()
