/**
 * The public integration tests of slixmpp, from a checkout of its repository (its packages leave them
 * out), against our node and, in the same run, against Prosody:
 * `npm run campaign -- slixmpp-suite --at FOLDER`.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { needPythonModule } from '../helpers/debian.ts'
import { hasProsody, startProsody } from '../helpers/prosody-server.ts'
import { toldByPython } from '../helpers/python-script.ts'
import { XmppHouse } from '../helpers/xmpp-house.ts'
import { XmppGround } from '../helpers/xmpp-server.ts'
import type { Campaign } from './campaign.ts'

const script = new URL('../interop/python/slixmpp_suite.py', import.meta.url).pathname

interface Target {
  readonly domain: string
  readonly rooms: string
  readonly host: string
  readonly port: number
  readonly accounts: readonly { readonly name: string, readonly password: string }[]
}

type Told = Readonly<Record<string, string>>

export const campaign: Campaign = {
  about: 'the integration tests of slixmpp against our node and Prosody',
  options: { at: '' },
  async run({ text, say, passed, failed }) {
    const python = await needPythonModule('slixmpp')
    if (text('at') === '' || python === undefined) {
      failed('--at FOLDER: a checkout of slixmpp; and python3-slixmpp is needed')
      return
    }
    const folder = await mkdtemp(join(tmpdir(), 'openim-slixmpp-suite-'))
    const ground = await XmppGround.create()
    const house = await XmppHouse.open({ ground, directory: folder })
    try {
      const ca = join(folder, 'ca.pem')
      await writeFile(ca, ground.ca.pem)
      const run = (target: Target): Promise<Told> =>
        toldByPython(python, [script], { ...target, ca, folder: resolve(text('at')) }) as Promise<Told>
      const account = async (name: string): Promise<{ name: string, password: string }> =>
        ({ name, password: await house.password(name) })
      const ours = await run({
        domain: 'a.test', rooms: 'rooms.a.test', host: '127.0.0.1', port: house.port,
        accounts: [await account('ann'), await account('bob')],
      })
      const theirs = hasProsody ? await run(await prosodyTarget(ground)) : {}
      for (const [test, said] of Object.entries(ours)) {
        say(`${test.replace(/^itests\./, '')}  ours: ${said}  Prosody: ${theirs[test] ?? 'not run'}`)
      }
      for (const one of Object.values(ours)) if (one === 'ok') passed()
      const count = (told: Told): number => Object.values(told).filter((said) => said === 'ok').length
      say(`${count(ours)} of ${Object.keys(ours).length} here, ${count(theirs)} at Prosody`)
      if (count(ours) < count(theirs)) failed('Prosody passes more')
    } finally {
      await house.close()
      await ground.remove()
      await rm(folder, { recursive: true, force: true })
    }
  },
}

async function prosodyTarget(ground: XmppGround): Promise<Target> {
  const accounts = [{ name: 'ann', password: 'ann secret' }, { name: 'bob', password: 'bob secret' }]
  const server = await startProsody(ground, {
    domain: 'p.test', accounts: Object.fromEntries(accounts.map(({ name, password }) => [name, password])),
  })
  return { domain: 'p.test', rooms: 'conference.p.test', host: '127.0.0.1', port: server.ports.c2s, accounts }
}
