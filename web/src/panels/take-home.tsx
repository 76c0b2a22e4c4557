import { useState } from "preact/hooks";
import { Card, Choice, CopyButton, Text } from "../ui";

type Piece = "curl" | "html" | "token";

/** Lines to copy: the same things done from a terminal and from a page of one's own. */
export function TakeHome(props: { curl: string; html: string; token: string; methods?: string }) {
  const [piece, setPiece] = useState<Piece>("curl");
  const options: [Piece, string][] = [["curl", "Terminal"], ["html", "HTML page"]];
  if (props.token) options.push(["token", "Token"]);
  const text = { curl: props.curl, html: props.html, token: props.token }[piece];
  return (
    <Card title="Take it home" testid="take-home"
      side={<Choice testid="piece" label="What to copy" value={piece} options={options} onChange={setPiece} />}>
      <div class="copyable">
        <Text label="To copy" text={text} testid="piece-text" />
        <CopyButton text={text} testid="piece-copy" />
      </div>
      {props.methods && <p class="note methods"><a href={props.methods} data-testid="swagger">All methods of the server API</a>, to read and to try</p>}
    </Card>
  );
}
