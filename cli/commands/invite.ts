/** `openim invite`: an invite for one person, as QR code and text; on a terminal it waits for them. */
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { escapeText, shellWord } from '../escape.ts'
import { showInvite } from '../show-invite.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal, options } = context
  const expiresInMs = options['expires'] as number | undefined
  return await withNode(context, async (node) => {
    const { promise: joined, resolve } = Promise.withResolvers<string>()
    const waits = terminal.interactive && !terminal.json
    if (waits) {
      const known = new Set((await node.call('contacts', {})).map((contact) => contact.address))
      await node.follow((event) => {
        if (event.type === 'contact' && !known.has(event.contact.address)) resolve(event.contact.name)
      })
    }
    const invite = await node.call('invite', expiresInMs === undefined ? {} : { expiresInMs })
    if (terminal.json) {
      await terminal.value({ uri: invite.uri, expiresAt: new Date(invite.expiresAtMs).toISOString() })
      return
    }
    await showInvite(context, invite)
    if (!waits) return
    terminal.say('Waiting (Ctrl-C keeps the invite valid) …')
    const name = await Promise.race([joined, node.closed])
    if (name === undefined) return
    const shown = escapeText(name)
    terminal.say(`✓ ${shown} joined.  Say hello: ${context.openim} chat ${shellWord(shown)}`)
    terminal.say(`To be sure that it is them: ${context.openim} verify ${shellWord(shown)}`)
  })
}

