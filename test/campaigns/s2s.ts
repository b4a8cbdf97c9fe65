/**
 * Federation under load while either side is killed (test/helpers/xmpp-federation-play.ts), long: each
 * message that we took, or that the other server has for us, arrives.
 */
import { playFederation } from '../helpers/xmpp-federation-play.ts'
import { trustAuthority } from '../helpers/xmpp-client.ts'
import { XmppGround } from '../helpers/xmpp-server.ts'
import type { Campaign } from './campaign.ts'

export const campaign: Campaign = {
  about: 'Prosody, ejabberd and we are killed in turn while messages go both ways',
  options: { messages: 500, kills: 5 },
  async run(context) {
    for (const kind of ['prosody', 'ejabberd'] as const) {
      const ground = await XmppGround.create()
      trustAuthority(ground.ca.pem)
      try {
        const { text, lost, doubled } = await playFederation({
          ground, kind, messages: context.number('messages'), kills: context.number('kills'),
        })
        context.say(text)
        if (lost.out + lost.in + doubled.in === 0) context.passed()
        else context.failed(text)
      } finally {
        await ground.remove()
      }
    }
  },
}
